"""Planner: what a training will need and what it would be given, found in the background."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QProcess, QTimer, Signal

from napari_mrgen.app.saved_inputs import save_sources
from napari_mrgen.app.session import TrainRequest
from napari_mrgen.app.window_work import failure_of, plan_arguments, preview_data
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import Advice, DataPreview, Plan, Survey
from napari_mrgen.errors import MrgenError
from napari_mrgen.widgets.worker import run_in_thread

SETTLED_MS = 1200


class CommandProcess(QObject):
    """Runs ``napari-mrgen`` in a process of its own, and reads its JSON answer.

    One command at a time; a new one replaces the one that still runs. Importing torch holds
    Python's lock for seconds when its files are not in memory yet. The first command, which lists
    the devices, brings them there, so that the window's own import is quick.
    """

    answered = Signal(object)
    failed = Signal(str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._process: Any = None

    def run(self, arguments: list[str]) -> None:
        """Run ``napari-mrgen`` with these arguments."""
        self.cancel()
        self._process = process = QProcess(self)
        # Methods, not lambdas: Qt disconnects these before a process ends with the window.
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._on_error)
        process.start(sys.executable, ["-m", "napari_mrgen", *arguments])

    def cancel(self) -> None:
        """End the command that runs; its answer is ignored."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def _on_finished(self, code: int) -> None:
        process = self.sender()
        process.deleteLater()
        if process is not self._process:
            return
        self._process = None
        try:
            answer = json.loads(_decode(process.readAllStandardOutput())) if code == 0 else None
        except ValueError:
            answer = None
        if answer is None:
            lines = _decode(process.readAllStandardError()).strip().splitlines()
            problem = lines[-1] if lines else f"it ended with code {code}"
            self.failed.emit(problem.removeprefix("napari-mrgen: "))
        else:
            self.answered.emit(answer)

    def _on_error(self, error: QProcess.ProcessError) -> None:
        process = self.sender()
        if process is self._process and error == QProcess.ProcessError.FailedToStart:
            self._process = None
            process.deleteLater()
            self.failed.emit(f"{sys.executable} could not be started.")


class Planner(QObject):
    """Waits until the form has settled, then plans the training in a process of its own.

    Parameters
    ----------
    read_form
        Reads the form; raises MrgenError while it is not complete.
    """

    planned = Signal(object)
    """The `Plan`, or None while there is none."""
    failed = Signal(str)

    def __init__(self, read_form: Callable[[], TrainRequest], parent: QObject) -> None:
        super().__init__(parent)
        self._read_form = read_form
        self.plan: Plan | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="napari-mrgen-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._is_saving = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLED_MS)
        self._timer.timeout.connect(self._start)
        self._command = CommandProcess(self)
        self._command.answered.connect(self._on_planned)
        self._command.failed.connect(self.failed)

    def plan_soon(self) -> None:
        """Drop the plan, and make another when nothing has changed for a second."""
        self._command.cancel()
        self._set(None)
        self._timer.start()

    def cancel(self) -> None:
        self._timer.stop()
        self._command.cancel()

    def _start(self) -> None:
        if self._is_saving:  # scans are still being written: look again later
            self._timer.start()
            return
        try:
            request = self._read_form()
        except MrgenError as error:
            self.failed.emit(str(error))
            return
        self._is_saving = True
        run_in_thread(lambda: self._arguments(request), self._ask, self._on_saved)

    def _arguments(self, request: TrainRequest) -> Iterator[list[str]]:
        paths = save_sources(request.sources, self.folder / "inputs", suffix=".nii")
        yield plan_arguments(request, paths, self.folder / "config.yaml")

    def _ask(self, arguments: list[str]) -> None:
        if isalive(self):  # the window may have gone while scans were being written
            self._command.run(arguments)

    def _on_saved(self, error: BaseException | None) -> None:
        self._is_saving = False
        if error is not None and isalive(self):
            self.failed.emit(str(error))

    def _on_planned(self, values: dict[str, Any]) -> None:
        layers = tuple((str(a), str(b), int(c)) for a, b, c in values.pop("layers", ()))
        advice = tuple(Advice(**one) for one in values.pop("advice", ()))
        fields = {name: values[name] for name in Plan.__dataclass_fields__ if name in values}
        self._set(Plan(**{**fields, "layers": layers, "advice": advice}))

    def _set(self, plan: Plan | None) -> None:
        self.plan = plan
        self.planned.emit(plan)


class DataPreviewer(QObject):
    """Reads what a training would be given, in the background; the survey comes first."""

    progressed = Signal(object)
    """The `Progress` that is being done."""
    surveyed = Signal(object)
    """A `Survey`."""
    previewed = Signal(object)
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

    def start(self, request: TrainRequest) -> None:
        """Preview the data of a training, unless a preview is under way."""
        if self.is_busy:
            return
        self._control = control = Control()
        self.destroyed.connect(control.stop)
        run_in_thread(
            lambda: preview_data(
                request.family, request.config, request.sources, self._folder, control
            ),
            lambda item: self._on_item(item, control),
            self._on_end,
        )

    def stop(self) -> None:
        """Stop; what has been read so far stays."""
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
                self.previewed.emit(item)

    def _on_end(self, error: BaseException | None) -> None:
        self._control = None
        if not isalive(self):
            return
        self.ended.emit()
        if error is not None:
            self.failed.emit(failure_of(error).message)


def _decode(output: Any) -> str:
    return bytes(output).decode("utf-8", errors="replace")
