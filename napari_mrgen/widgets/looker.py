"""Looker: reads what a training would be fed, in the background, and can be told to give up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_mrgen.app.session import TrainRequest
from napari_mrgen.app.window_work import failure_of, preview_data
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import DataPreview, Survey
from napari_mrgen.widgets.parts import Note, ShareBar, button
from napari_mrgen.widgets.worker import run_in_thread


class Looker(QObject):
    """One look at a time; what it finds comes as signals, the table of the scans first."""

    progressed = Signal(object)
    """The `Progress` that is being done."""
    surveyed = Signal(object)
    """A `Survey`."""
    looked = Signal(object)
    """The `DataPreview`."""
    failed = Signal(str)
    ended = Signal()

    def __init__(self, folder: Path, parent: QObject) -> None:
        super().__init__(parent)
        self._folder = folder
        self._control: Control | None = None

    @property
    def is_busy(self) -> bool:
        return self._control is not None

    def look(self, job: TrainRequest) -> None:
        """Look at the data of a training; nothing while another look goes on."""
        if self.is_busy:
            return
        self._control = control = Control()
        self.destroyed.connect(control.stop)
        run_in_thread(
            lambda: preview_data(job.family, job.config, job.sources, self._folder, control),
            lambda item: self._on_item(item, control),
            self._on_end,
        )

    def stop(self) -> None:
        """Give up; what has been found by now stays."""
        if self._control is not None:
            self._control.stop()

    def _on_item(self, item: Progress | Survey | DataPreview, control: Control) -> None:
        if not isalive(self) or control.is_stopped:
            return
        match item:
            case Progress():
                self.progressed.emit(item)
            case Survey():
                self.surveyed.emit(item)
            case DataPreview():
                self.looked.emit(item)

    def _on_end(self, error: BaseException | None) -> None:
        self._control = None
        if not isalive(self):
            return
        self.ended.emit()
        if error is not None:
            self.failed.emit(failure_of(error).message)


class LookProgress(QWidget):
    """How far a look is, and a button that ends it; hidden while there is none."""

    def __init__(self, stop: Callable[[], object]) -> None:
        super().__init__()
        self._note = Note()
        self._bar = ShareBar()
        self._stop = button("Stop looking", stop, "Give up; what has been found by now stays")
        beside = QHBoxLayout()
        beside.addWidget(self._bar, stretch=1)
        beside.addWidget(self._stop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self._note)
        layout.addLayout(beside)
        self.hide()

    def show_step(self, step: Progress) -> None:
        part = f" ({step.done + 1:.0f} of {step.total:.0f})" if step.done < step.total else ""
        self._note.say(f"{step.message}{part}…")
        self._bar.show_share(step.fraction)
        self.show()
