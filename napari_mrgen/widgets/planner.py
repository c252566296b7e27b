"""Planner: finds what a training will need, in a helper process, whenever the form has changed."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from napari_mrgen.app.saved_inputs import save_sources
from napari_mrgen.app.session import TrainRequest
from napari_mrgen.app.window_work import plan_arguments
from napari_mrgen.engine.family import Advice, Plan
from napari_mrgen.errors import MrgenError
from napari_mrgen.widgets.helper import Helper
from napari_mrgen.widgets.worker import run_in_thread

SETTLED_MS = 1200


class Planner(QObject):
    """Waits until the form has settled, then plans what it says.

    Parameters
    ----------
    read_job
        Reads the form; raises MrgenError while it is not complete.
    """

    planned = Signal(object)
    """The `Plan`, or None while there is none."""
    failed = Signal(str)

    def __init__(self, read_job: Callable[[], TrainRequest], parent: QObject) -> None:
        super().__init__(parent)
        self._read_job = read_job
        self.plan: Plan | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="napari-mrgen-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._is_saving = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLED_MS)
        self._timer.timeout.connect(self._start)
        self._helper = Helper(self)
        self._helper.answered.connect(self._on_planned)
        self._helper.failed.connect(self._on_failed)

    def plan_soon(self) -> None:
        """Forget the plan; make another when nothing has changed for a second."""
        self._helper.cancel()
        self._set(None)
        self._timer.start()

    def cancel(self) -> None:
        self._timer.stop()
        self._helper.cancel()

    def _start(self) -> None:
        if self._is_saving:  # scans are still being written: look again later
            self._timer.start()
            return
        try:
            job = self._read_job()
        except MrgenError as error:
            self.failed.emit(str(error))
            return
        self._is_saving = True
        run_in_thread(lambda: self._arguments(job), self._ask, self._on_saved)

    def _arguments(self, job: TrainRequest) -> Iterator[list[str]]:
        paths = save_sources(job.sources, self.folder / "inputs", suffix=".nii")
        yield plan_arguments(job, paths, self.folder / "config.yaml")

    def _ask(self, arguments: list[str]) -> None:
        if isalive(self):  # the window may have gone while scans were being written
            self._helper.ask(arguments)

    def _on_saved(self, error: BaseException | None) -> None:
        self._is_saving = False
        if error is not None and isalive(self):
            self.failed.emit(str(error))

    def _on_planned(self, values: dict[str, Any]) -> None:
        layers = tuple((str(a), str(b), int(c)) for a, b, c in values.pop("layers", ()))
        advice = tuple(Advice(**one) for one in values.pop("advice", ()))
        known = {name: values[name] for name in Plan.__dataclass_fields__ if name in values}
        self._set(Plan(**{**known, "layers": layers, "advice": advice}))

    def _on_failed(self, problem: str) -> None:
        self.failed.emit(problem)

    def _set(self, plan: Plan | None) -> None:
        self.plan = plan
        self.planned.emit(plan)
