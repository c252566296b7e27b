"""Early stopping: what is kept, when a stage ends, and that a resumed run ends there too."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit, resume
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.model import load_weights
from napari_mrgen.engine.run.model_header import read_header
from napari_mrgen.engine.run.state import saved_states
from napari_mrgen.engine.task import EarlyStopping, EarlyStoppingState
from napari_mrgen.errors import MrgenError
from tests.engine import toy
from tests.engine.conftest import Nursery, digest, digest_state

FIGURES = st.lists(st.floats(-10, 10), min_size=1, max_size=30)
SETTINGS = {"steps": 30, "patience": 2, "min_delta": 0.2, "preview_every": 3, "save_every": 4}
"""The first stage gives up early, between two checkpoints."""


def judge_all(patience: EarlyStopping, values: list[float]) -> list[EarlyStoppingState]:
    standings = [EarlyStoppingState()]
    for step, value in enumerate(values, 1):
        standings.append(patience.update(standings[-1], step, {"figure": value}))
    return standings[1:]


@given(FIGURES)
def test_the_best_is_the_first_best(values: list[float]) -> None:
    least = judge_all(EarlyStopping("figure"), values)[-1]
    assert (least.best, least.best_step) == (min(values), values.index(min(values)) + 1)
    most = judge_all(EarlyStopping("figure", mode="max"), values)[-1]
    assert (most.best, most.best_step) == (max(values), values.index(max(values)) + 1)


@given(FIGURES)
def test_less_is_better_is_the_mirror_of_more_is_better(values: list[float]) -> None:
    down = judge_all(EarlyStopping("figure", 3, 0.5), values)
    up = judge_all(EarlyStopping("figure", 3, 0.5, "max"), [-value for value in values])
    assert [standing.waited for standing in down] == [standing.waited for standing in up]


@given(FIGURES)
def test_without_patience_it_never_ends(values: list[float]) -> None:
    patience = EarlyStopping("figure", 0)
    assert not any(map(patience.is_over, judge_all(patience, values)))


def test_small_gains_are_the_best_but_no_improvement() -> None:
    last = judge_all(EarlyStopping("figure", 3, min_delta=1.0), [5.0, 4.5, 4.2, 4.1])[-1]
    assert last == EarlyStoppingState(best=4.1, best_step=4, reference=5.0, waited=3)
    assert EarlyStopping("figure", 3).is_over(last)
    assert not EarlyStopping("figure", 4).is_over(last)


def test_what_is_not_a_number_is_never_better() -> None:
    standings = judge_all(EarlyStopping("figure", 2), [math.nan, 3.0, math.nan])
    assert [standing.waited for standing in standings] == [1, 0, 1]
    assert standings[-1].best == 3.0


def test_an_unknown_figure_is_refused_in_words() -> None:
    with pytest.raises(MrgenError, match="metric 'ssmi'; did you mean 'ssim'"):
        EarlyStopping("ssmi").update(EarlyStoppingState(), 1, {"ssim": 0.5})


# ---------------------------------------------------------------- in a run


def train(folder: Path, **changes: object) -> list[events.Event]:
    config = toy.ToyConfig(**{**SETTINGS, **changes})
    inputs = toy.inputs(folder / "inputs")
    return list(fit(toy.FAMILY, config, inputs, folder / "run", Control(), precision="32-true"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[events.Event]]:
    folder = tmp_path_factory.mktemp("whole")
    return folder / "run", train(folder)


def test_the_stage_ends_when_nothing_gets_better(whole: tuple[Path, list[events.Event]]) -> None:
    _, seen = whole
    assert isinstance(seen[-1], events.Finished), seen[-1]
    figures = {e.step: e.metrics["mse"] for e in seen if isinstance(e, events.Evaluated)
               and e.stage == "first"}  # fmt: skip
    last = max(figures)
    assert last < SETTINGS["steps"]
    patience = EarlyStopping("mse", SETTINGS["patience"], SETTINGS["min_delta"])
    standing = EarlyStoppingState()
    for step, value in figures.items():
        assert not patience.is_over(standing)
        standing = patience.update(standing, step, {"mse": value})
    assert patience.is_over(standing)
    steps = {e.stage: e.step for e in seen if isinstance(e, events.Saved)}
    assert steps == {"first": last, "second": SETTINGS["steps"]}


def test_the_model_is_the_best_one_and_the_last_is_kept(tmp_path: Path) -> None:
    # A rate that is too high makes it worse and worse after the first steps.
    seen = train(tmp_path, patience=0, min_delta=0.0, learning_rate=0.3, steps=18)
    figures = {e.step: e.metrics["mse"] for e in seen if isinstance(e, events.Evaluated)
               and e.stage == "first"}  # fmt: skip
    best = min(figures, key=figures.__getitem__)
    assert best < max(figures)
    run = tmp_path / "run"
    for name in ("model-best", "model-first"):
        header = read_header(run / f"{name}.safetensors")
        assert (header.step, header.metrics["mse"]) == (best, figures[best])
    assert read_header(run / "model-last.safetensors").step == max(figures)
    weights = [digest(load_weights(run / f"model-{n}.safetensors")) for n in ("best", "first")]
    assert weights[0] == weights[1]
    assert weights[0] != digest(load_weights(run / "model-last.safetensors"))


@pytest.mark.parametrize("place", [("first", 5), ("first", 8), ("second", 3)])
def test_stopped_and_resumed_in_a_new_process_it_ends_the_same(
    place: tuple[str, int],
    whole: tuple[Path, list[events.Event]],
    nursery: Nursery,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    assert nursery.run(run, SETTINGS, stop_at=list(place)) == 0
    assert nursery.run(run, SETTINGS) == 0
    for name in ("model-first", "model-best", "model-last", "model"):
        file = f"{name}.safetensors"
        assert read_header(run / file).step == read_header(whole[0] / file).step
        assert digest(load_weights(run / file)) == digest(load_weights(whole[0] / file))
    states = [saved_states(folder / "checkpoints")[0].path for folder in (run, whole[0])]
    assert digest_state(states[0]) == digest_state(states[1])


def test_a_kill_after_the_last_checkpoint_of_the_stage(
    whole: tuple[Path, list[events.Event]], tmp_path: Path
) -> None:
    """The best model is on the disk, and its stage is not known to be finished yet."""
    control, run = Control(), tmp_path / "run"
    inputs = toy.inputs(tmp_path / "inputs")
    end = read_header(whole[0] / "model-last.safetensors").step
    for event in fit(
        toy.FAMILY, toy.ToyConfig(**SETTINGS), inputs, run, control, precision="32-true"
    ):
        if isinstance(event, events.Saved) and event.step == end and event.stage == "first":
            control.stop()
    (run / "model-first.safetensors").unlink()
    assert isinstance(list(resume(run, toy.lookup, Control()))[-1], events.Finished)
    file = "model-first.safetensors"
    assert digest(load_weights(run / file)) == digest(load_weights(whole[0] / file))


def test_a_run_that_watches_what_is_not_told_fails_in_words(tmp_path: Path) -> None:
    last = train(tmp_path, monitor="nothing")[-1]
    assert isinstance(last, events.Failed)
    assert last.message == "There is no metric 'nothing'; known ones: mse."
