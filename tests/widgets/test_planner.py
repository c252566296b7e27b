from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QApplication

from napari_mrgen import families
from napari_mrgen.app.session import TrainRequest
from napari_mrgen.samples import beating_heart
from napari_mrgen.widgets import worker
from napari_mrgen.widgets.planner import Planner

pytestmark = pytest.mark.window
FAMILY = families.get("frame_prediction")


def test_a_window_that_goes_while_scans_are_written_is_not_asked(
    qtbot: QtBot, tmp_path: Path
) -> None:
    heart, _ = beating_heart(frames=14, slices=2, size=40)
    job = TrainRequest(FAMILY, FAMILY.preset("tiny"), {"cine": (heart,)}, tmp_path / "run")
    window = QObject()
    planner = Planner(lambda: job, window)
    planner._start()
    window.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert not isalive(planner)
    qtbot.waitUntil(lambda: not worker._running)
