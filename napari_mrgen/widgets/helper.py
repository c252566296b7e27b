"""Helper: asks this package's command line, in a process of its own, and reads its JSON answer.

Importing torch holds Python's lock for seconds when its files are not in memory yet. The first
question, which devices there are, brings them there, so that the window's own import is quick.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from qtpy.QtCore import QObject, QProcess, Signal


class Helper(QObject):
    """One question at a time; a new one replaces the one that is still open."""

    answered = Signal(object)
    failed = Signal(str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._process: Any = None

    def ask(self, arguments: list[str]) -> None:
        """Run ``napari-mrgen`` with these arguments."""
        self.cancel()
        self._process = process = QProcess(self)
        # Methods, not lambdas: these are let go before a process dies with the window.
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._on_error)
        process.start(sys.executable, ["-m", "napari_mrgen", *arguments])

    def cancel(self) -> None:
        """Leave the open question; its process goes by itself."""
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
            answer = json.loads(_text(process.readAllStandardOutput())) if code == 0 else None
        except ValueError:
            answer = None
        if answer is None:
            said = _text(process.readAllStandardError()).strip().splitlines()
            problem = said[-1] if said else f"it ended with code {code}"
            self.failed.emit(problem.removeprefix("napari-mrgen: "))
        else:
            self.answered.emit(answer)

    def _on_error(self, error: QProcess.ProcessError) -> None:
        process = self.sender()
        if process is self._process and error == QProcess.ProcessError.FailedToStart:
            self._process = None
            process.deleteLater()
            self.failed.emit(f"{sys.executable} could not be started.")


def _text(output: Any) -> str:
    return bytes(output).decode("utf-8", errors="replace")
