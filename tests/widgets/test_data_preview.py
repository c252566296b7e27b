"""A look at pairs in a real window: the table comes first, and it can be given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QPushButton, QTableWidget, QWidget

from napari_mrgen.widgets.tables import SurveyDialog
from napari_mrgen.widgets.train_panel import TrainPanel
from tests.data.heads.head_data import head, rigid, write_pair

pytestmark = [pytest.mark.window, pytest.mark.timeout(600)]

PATIENCE_MS = 240_000
Click = Callable[[QWidget, str], None]


@pytest.fixture
def panel(window: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainPanel:
    """The Train panel with a folder of two pairs, one of which is not aligned."""
    monkeypatch.setenv("MRGEN_CACHE", str(tmp_path / "cache"))
    write_pair(tmp_path / "heads", "alike", head(1))
    t1, t2 = head(2)
    aside = rigid((0, 0, 0), (14, -10, 12)) @ t2.affine
    write_pair(tmp_path / "heads", "aside", (t1, replace(t2, affine=aside)))
    _, made = window.window.add_plugin_dock_widget("napari-mrgen", "Train")
    made.setup.choose_family("cyclegan")
    made.setup.choose_preset("tiny")
    made.setup.inputs.pickers["pairs"].choose_path(tmp_path / "heads")
    assert isinstance(made, TrainPanel)
    return made


def test_the_table_comes_before_anything_is_registered(
    panel: TrainPanel, qtbot: QtBot, click: Click
) -> None:
    click(panel, "preview_data")
    qtbot.waitUntil(lambda: bool(panel.findChildren(SurveyDialog)), timeout=PATIENCE_MS)
    (dialog,) = panel.findChildren(SurveyDialog)
    table = dialog.findChild(QTableWidget)
    rows = [[table.item(y, x).text() for x in range(table.columnCount())] for y in range(2)]
    assert [row[3] for row in rows] == ["same grid", "not aligned"] or rows[0][0] == "aside"
    assert any("registered" in cell for row in rows for cell in row)
    stop = panel.findChild(QPushButton, "stop_preview")
    qtbot.waitUntil(lambda: not stop.isVisible(), timeout=PATIENCE_MS)
    dialog.close()


def test_a_look_is_given_up_and_can_be_taken_again(
    window: Any, panel: TrainPanel, qtbot: QtBot, click: Click
) -> None:
    click(panel, "preview_data")
    stop = panel.findChild(QPushButton, "stop_preview")
    qtbot.waitUntil(stop.isVisible, timeout=PATIENCE_MS)
    click(panel, "stop_preview")
    qtbot.waitUntil(lambda: not stop.isVisible(), timeout=PATIENCE_MS)
    assert not panel.findChildren(SurveyDialog)
    assert not window.layers
    click(panel, "preview_data")
    qtbot.waitUntil(lambda: bool(window.layers), timeout=PATIENCE_MS)
    for dialog in panel.findChildren(SurveyDialog):
        dialog.close()


def test_the_panel_says_before_the_press_that_scans_will_be_registered(
    panel: TrainPanel, qtbot: QtBot
) -> None:
    def said() -> str:
        return " ".join(note.text() for note in panel.setup.findChildren(QWidget, "survey_note"))

    qtbot.waitUntil(lambda: "are registered before training" in said(), timeout=PATIENCE_MS)
    panel.setup.show_config(panel.setup.form.config().with_values({"unaligned": "refuse"}))
    qtbot.waitUntil(lambda: "by their names" in said(), timeout=PATIENCE_MS)
    assert "registered" not in said()
