"""What the worker's thread does for the panels, without a window."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from napari_mrgen import families
from napari_mrgen.app import window_work
from napari_mrgen.app.session import TrainRequest
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.run import events
from napari_mrgen.errors import MrgenError
from napari_mrgen.samples import beating_heart

FAMILY = families.get("frame_prediction")
SHORT = FAMILY.preset("tiny").with_values({"autoencoder_steps": 4, "gan_steps": 0})


def request(run_dir: Path) -> TrainRequest:
    heart, _ = beating_heart(size=48)
    return TrainRequest(FAMILY, SHORT, {"cine": (heart,)}, run_dir)


def test_collections_are_short_while_a_run_goes_on(tmp_path: Path) -> None:
    frozen = {
        type(event): gc.get_freeze_count()
        for event in window_work.run_events(request(tmp_path / "run"), Control())
    }
    assert frozen[events.Stepped] > 10_000
    assert gc.get_freeze_count() == 0


def test_a_preview_is_read_for_the_window(tmp_path: Path) -> None:
    said = list(window_work.run_events(request(tmp_path / "run"), Control()))
    previews = [event for event in said if isinstance(event, window_work.Preview)]
    assert previews
    assert all(volume.axes == "tzyx" for preview in previews for volume in preview.volumes)
    assert isinstance(said[-1], events.Finished)


@pytest.mark.parametrize("error", [MrgenError("Choose another."), ValueError("odd"), KeyError()])
def test_what_failed_is_said_in_a_sentence(error: Exception) -> None:
    said = window_work.failure_of(error)
    assert said.message
    assert bool(said.details) is not isinstance(error, MrgenError)
