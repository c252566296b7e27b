"""A stage that is done before its length: it is finished like any other, resumed or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit, resume
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.model_header import read_header
from napari_mrgen.engine.run.state import saved_states
from tests.engine import toy
from tests.engine.conftest import digest_state

CONFIG = toy.ToyConfig(steps=12, enough=7, save_every=1, preview_every=4)


def train(folder: Path, stop_at: tuple[str, int] | None = None) -> list[events.Event]:
    control, seen = Control(), []
    inputs = toy.inputs(folder / "inputs")
    for event in fit(toy.FAMILY, CONFIG, inputs, folder / "run", control, precision="32-true"):
        seen.append(event)
        if isinstance(event, events.Saved) and (event.stage, event.step) == stop_at:
            control.stop()
    return seen


def newest(folder: Path) -> str:
    return digest_state(saved_states(folder / "run" / "checkpoints")[0].path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    seen = train(folder)
    assert isinstance(seen[-1], events.Finished), seen[-1]
    steps = {e.stage: e.step for e in seen if isinstance(e, events.Saved)}
    assert steps == {"first": 7, "second": 12}
    return folder


def test_its_model_knows_how_far_it_came(whole: Path) -> None:
    assert read_header(whole / "run" / "model-first.safetensors").step == 7


@pytest.mark.parametrize("place", [("first", 3), ("first", 7), ("second", 2)])
def test_stop_and_resume_equals_uninterrupted(
    whole: Path, tmp_path: Path, place: tuple[str, int]
) -> None:
    stopped = train(tmp_path, place)[-1]
    assert isinstance(stopped, events.Stopped)
    assert (stopped.stage, stopped.step) == place
    assert isinstance(list(resume(tmp_path / "run", toy.lookup, Control()))[-1], events.Finished)
    assert newest(tmp_path) == newest(whole)


def test_a_kill_between_the_last_step_and_the_model(whole: Path, tmp_path: Path) -> None:
    train(tmp_path, ("first", 7))
    (tmp_path / "run" / "model-first.safetensors").unlink()
    assert isinstance(list(resume(tmp_path / "run", toy.lookup, Control()))[-1], events.Finished)
    assert newest(tmp_path) == newest(whole)
