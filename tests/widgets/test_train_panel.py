"""The Train panel's less usual ways, in a real window, by clicking."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject, Qt, QTimer, QUrl, Slot
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QApplication,
    QDialogButtonBox,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QWidget,
)

from napari_mrgen import families
from napari_mrgen.app.inputs import gather
from napari_mrgen.app.session import Phase
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit
from napari_mrgen.engine.run.events import Finished
from napari_mrgen.engine.run.folder import Run
from napari_mrgen.io import nifti
from napari_mrgen.samples import beating_heart
from napari_mrgen.widgets.launch import Demo
from napari_mrgen.widgets.loss_plot import LOSSES
from napari_mrgen.widgets.train_panel import TrainPanel

pytestmark = [pytest.mark.window, pytest.mark.timeout(600)]

PATIENCE_MS = 240_000
FAMILY = families.get("frame_prediction")
SHORT = FAMILY.preset("tiny").with_values({"autoencoder_steps": 4, "gan_steps": 0})
Click = Callable[[QWidget, str], None]


@pytest.fixture
def panel(window: Any, tmp_path: Path) -> TrainPanel:
    """The Train panel beside the beating heart."""
    window.open_sample("napari-mrgen", "heart")
    _, made = window.window.add_plugin_dock_widget("napari-mrgen", "Train")
    made.setup.choose_family(FAMILY.name)
    made.setup.choose_preset("tiny")
    made.setup.choose_runs_folder(tmp_path / "runs")
    assert isinstance(made, TrainPanel)
    return made


@pytest.fixture
def earlier_run(tmp_path: Path) -> Path:
    """A finished run, trained without a window and moved since."""
    heart, _ = beating_heart(size=48)
    nifti.write(heart, tmp_path / "heart.nii")
    inputs = gather(FAMILY, {"cine": [tmp_path / "heart.nii"]}, SHORT)
    last = list(fit(FAMILY, SHORT, inputs, tmp_path / "first-place", Control()))[-1]
    assert isinstance(last, Finished)
    return (tmp_path / "first-place").rename(tmp_path / "moved")


def choose_folder(folder: Path) -> None:
    """Answer the file dialog that the next click opens."""

    def answer() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, QFileDialog):
            QTimer.singleShot(50, answer)
            return
        dialog.setDirectory(str(folder.parent))
        dialog.findChild(QLineEdit, "fileNameEdit").setText(folder.name)
        choose = QDialogButtonBox.StandardButton.Open
        dialog.findChild(QDialogButtonBox).button(choose).click()

    QTimer.singleShot(50, answer)


def open_earlier(panel: TrainPanel, folder: Path, click: Click) -> None:
    panel.tabs.setCurrentWidget(panel.run)
    choose_folder(folder)
    click(panel, "open_run")


def test_an_earlier_run_is_opened_and_used(
    panel: TrainPanel, earlier_run: Path, qtbot: QtBot, click: Click
) -> None:
    open_earlier(panel, earlier_run, click)
    state = panel.session.state
    assert state.phase is Phase.FINISHED
    assert state.model == earlier_run / "model.safetensors"
    assert panel.setup.config() == SHORT
    assert panel.run.plot.curves[LOSSES]["loss"].x
    click(panel, "generate_with_this_model")
    generating = panel.open_generate()
    with qtbot.waitSignal(generating.generated, timeout=PATIENCE_MS):
        click(generating, "generate")


def test_opened_twice_its_curves_are_drawn_once(
    panel: TrainPanel, earlier_run: Path, click: Click
) -> None:
    for _ in range(2):
        open_earlier(panel, earlier_run, click)
    steps = panel.run.plot.curves[LOSSES]["loss"].x
    assert steps == sorted(set(steps))
    assert steps[-1] == SHORT.autoencoder_steps


def test_a_folder_without_a_run_is_refused(panel: TrainPanel, tmp_path: Path, click: Click) -> None:
    open_earlier(panel, tmp_path, click)
    assert "is not a run folder" in panel.bar.headline.text()
    assert panel.session.state.phase is Phase.IDLE


def test_closing_the_panel_saves_its_run(
    window: Any, panel: TrainPanel, qtbot: QtBot, click: Click
) -> None:
    click(panel, "train")
    qtbot.waitUntil(lambda: panel.session.state.step > 0, timeout=PATIENCE_MS)
    dock, _ = window.window.add_plugin_dock_widget("napari-mrgen", "Train")
    close = dock.findChild(QPushButton, "QTitleBarCloseButton")
    qtbot.mouseClick(close, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not panel.session.state.is_busy, timeout=PATIENCE_MS)
    run_dir = panel.session.state.run_dir
    assert run_dir is not None
    assert Run(run_dir).status in ("stopped", "finished")
    _, another = window.window.add_plugin_dock_widget("napari-mrgen", "Train")
    assert another is not panel
    assert another.session.state.can_train


class Browser(QObject):
    """Stands for the web browser: keeps the addresses that it is asked to show."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []

    @Slot(QUrl)
    def show(self, address: QUrl) -> None:
        self.shown.append(address.toString())


@pytest.fixture
def browser() -> Iterator[Browser]:
    made = Browser()
    QDesktopServices.setUrlHandler("http", made, "show")
    yield made
    QDesktopServices.unsetUrlHandler("http")


def test_tensorboard_answers_in_the_browser(
    panel: TrainPanel, earlier_run: Path, browser: Browser, qtbot: QtBot, click: Click
) -> None:
    open_earlier(panel, earlier_run, click)
    click(panel, "tensorboard")
    qtbot.waitUntil(lambda: bool(browser.shown), timeout=PATIENCE_MS)
    with urllib.request.urlopen(f"{browser.shown[0]}data/runs") as answer:
        assert b"." in answer.read()


def test_the_demo_trains_predicts_and_plays(window: Any, qtbot: QtBot, tmp_path: Path) -> None:
    demo = Demo(window, frames=6)
    demo.start(FAMILY.name, "tiny", tmp_path, {"gan_steps": 0})
    qtbot.waitUntil(lambda: demo.is_done, timeout=PATIENCE_MS)
    seen: set[int] = set()
    window.dims.events.current_step.connect(lambda: seen.add(window.dims.current_step[0]))
    qtbot.waitUntil(lambda: len(seen) > 3, timeout=PATIENCE_MS)
    (shown,) = [layer for layer in window.layers if layer.visible]
    assert "synthetic" in shown.name
    assert len(shown.data) == 6
