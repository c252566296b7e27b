"""The Queue panel in a real window, by clicking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import h5py
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QDialogButtonBox,
    QDockWidget,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QTreeWidget,
    QWidget,
)

from napari_mrgen import families
from napari_mrgen.app.jobs.file import Job, read_jobs
from napari_mrgen.app.jobs.run import JobOutcome
from napari_mrgen.engine.run.folder import Run
from napari_mrgen.widgets.queue_panel import QueuePanel
from napari_mrgen.widgets.train_panel import TrainPanel

pytestmark = [pytest.mark.window, pytest.mark.timeout(900)]

PATIENCE_MS = 800_000
FAMILY = families.get("frame_prediction")
SHORT = FAMILY.preset("tiny").with_values({"autoencoder_steps": 4, "gan_steps": 0})
Click = Callable[[QWidget, str], None]


@pytest.fixture
def train(window: Any, tmp_path: Path) -> TrainPanel:
    """The Train panel beside the beating heart, with a training that takes a blink."""
    window.open_sample("napari-mrgen", "heart")
    _, made = window.window.add_plugin_dock_widget("napari-mrgen", "Train")
    made.setup.choose_family(FAMILY.name)
    made.setup.show_config(SHORT)
    made.setup.choose_runs_folder(tmp_path / "runs")
    assert isinstance(made, TrainPanel)
    return made


@pytest.fixture
def panel(window: Any, train: TrainPanel) -> QueuePanel:
    _, made = window.window.add_plugin_dock_widget("napari-mrgen", "Queue", tabify=True)
    assert isinstance(made, QueuePanel)
    raise_panel(made)
    return made


def raise_panel(panel: QWidget) -> None:
    """Bring its tab to the front."""
    dock = panel.parentWidget()
    while not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    dock.raise_()
    QApplication.processEvents()


def add(panel: QueuePanel, click: Click, qtbot: QtBot) -> None:
    """Press Add, and wait until what it trains on is kept."""
    raise_panel(panel)
    before = len(panel.queue.entries)
    click(panel, "add")
    button = panel.findChild(QPushButton, "add")
    qtbot.waitUntil(button.isEnabled, timeout=PATIENCE_MS)
    assert len(panel.queue.entries) == before + 1
    raise_panel(panel)


def choose(panel: QueuePanel, index: int, qtbot: QtBot) -> None:
    """Click on a row of the list."""
    rows = panel.findChild(QTreeWidget, "jobs")
    place = rows.visualItemRect(rows.topLevelItem(index)).center()
    qtbot.mouseClick(rows.viewport(), Qt.MouseButton.LeftButton, pos=place)


def answer(path: Path) -> None:
    """Answer the file dialog that the next click opens."""

    def type_in() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, QFileDialog):
            QTimer.singleShot(50, type_in)
            return
        dialog.setDirectory(str(path.parent))
        dialog.findChild(QLineEdit, "fileNameEdit").setText(path.name)
        saves = dialog.acceptMode() == QFileDialog.AcceptMode.AcceptSave
        kind = QDialogButtonBox.StandardButton
        dialog.findChild(QDialogButtonBox).button(kind.Save if saves else kind.Open).click()

    QTimer.singleShot(50, type_in)


def shown(panel: QueuePanel) -> list[tuple[str, str]]:
    rows = panel.findChild(QTreeWidget, "jobs")
    items = (rows.topLevelItem(index) for index in range(rows.topLevelItemCount()))
    return [(item.text(0), item.text(1).split(" ")[0]) for item in items]


def test_jobs_wait_for_each_other(
    panel: QueuePanel, train: TrainPanel, qtbot: QtBot, click: Click, tmp_path: Path
) -> None:
    predicts = panel.findChild(QCheckBox, "predicts")
    predicts.click()
    assert predicts.isChecked()
    add(panel, click, qtbot)
    train.setup.show_config(SHORT.with_values({"learning_rate": 0.5, "autoencoder_steps": 3}))
    add(panel, click, qtbot)
    first, second = (name for name, _ in shown(panel))
    assert [state for _, state in shown(panel)] == ["waiting", "waiting"]

    choose(panel, 1, qtbot)
    click(panel, "up")
    assert [name for name, _ in shown(panel)] == [second, first]

    file = tmp_path / "jobs.yaml"
    answer(file)
    click(panel, "save")
    saved = read_jobs(file).jobs
    assert [job.name for job in saved] == [second, first]
    assert saved[0].train_config() == train.setup.config()

    for _ in range(2):
        choose(panel, 0, qtbot)
        click(panel, "remove")
    assert shown(panel) == []
    assert not panel.findChild(QPushButton, "start").isEnabled()
    answer(file)
    click(panel, "load")
    assert [name for name, _ in shown(panel)] == [second, first]

    click(panel, "start")
    assert not panel.findChild(QPushButton, "start").isEnabled()
    qtbot.waitUntil(lambda: not panel.is_busy, timeout=PATIENCE_MS)
    assert shown(panel) == [(second, "finished"), (first, "finished")]
    with h5py.File(saved[1].out / "predictions" / "result.h5") as results:
        assert results["result"].shape[0] == 1


def test_a_stop_leaves_the_rest_waiting(panel: QueuePanel, qtbot: QtBot, click: Click) -> None:
    add(panel, click, qtbot)
    add(panel, click, qtbot)
    click(panel, "start")
    qtbot.waitUntil(lambda: panel.queue.running is not None, timeout=PATIENCE_MS)
    click(panel, "stop")
    qtbot.waitUntil(lambda: not panel.is_busy, timeout=PATIENCE_MS)
    assert [state for _, state in shown(panel)][1] == "waiting"
    click(panel, "start")
    qtbot.waitUntil(lambda: not panel.is_busy, timeout=PATIENCE_MS)
    assert [state for _, state in shown(panel)] == ["finished", "finished"]
    assert all(Run(entry.job.out).status == "finished" for entry in panel.queue.entries)


def test_without_a_scan_nothing_is_added(
    window: Any, panel: QueuePanel, qtbot: QtBot, click: Click
) -> None:
    window.layers.clear()
    click(panel, "add")
    assert "nothing is chosen" in panel.headline.text()
    assert shown(panel) == []


def test_a_file_that_is_wrong_is_said(panel: QueuePanel, click: Click, tmp_path: Path) -> None:
    (tmp_path / "jobs.yaml").write_text("jobs: [{name: a, family: dcgn}]")
    answer(tmp_path / "jobs.yaml")
    click(panel, "load")
    assert "There is no model family 'dcgn'" in panel.headline.text()


@pytest.mark.parametrize("whole_window", [True, False])
def test_closed_in_the_middle_it_saves_the_run(
    panel: QueuePanel, train: TrainPanel, qtbot: QtBot, click: Click, whole_window: bool
) -> None:
    train.setup.show_config(SHORT.with_values({"autoencoder_steps": 5000}))
    add(panel, click, qtbot)
    add(panel, click, qtbot)
    click(panel, "start")
    out = panel.queue.entries[0].job.out
    qtbot.waitUntil(lambda: "step" in panel.queue.entries[0].message, timeout=PATIENCE_MS)
    if whole_window:
        # What the window's own button sends; the fixture closes the viewer behind it.
        QApplication.sendEvent(panel.window(), QCloseEvent())
    else:
        panel._viewer.window.remove_dock_widget(panel)
    qtbot.waitUntil(lambda: not panel.is_busy, timeout=PATIENCE_MS)
    assert Run(out).status == "stopped"
    assert [entry.state for entry in panel.queue.entries] == ["stopped", "waiting"]


def test_what_waits_is_offered_at_the_next_start(qtbot: QtBot, tmp_path: Path) -> None:
    def start() -> tuple[QueuePanel, QPushButton]:
        made = QueuePanel(Mock())
        qtbot.addWidget(made)
        return made, made.findChild(QPushButton, "again")

    jobs = [Job(name=name, family="dcgan", out=tmp_path / name) for name in "ab"]
    panel, again = start()
    assert again.isHidden()
    panel.queue.add(jobs)
    panel._on_report(JobOutcome(jobs[0], "finished"))
    panel, again = start()
    assert shown(panel) == []
    assert not again.isHidden()
    again.click()
    assert shown(panel) == [("b", "waiting")]
    assert again.isHidden()
    panel._on_report(JobOutcome(jobs[1], "finished"))
    _, again = start()
    assert again.isHidden()
