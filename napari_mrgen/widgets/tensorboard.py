"""TensorBoard on a run: a process of its own on this machine only, shown in the browser."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, QProcess, QUrl, Signal
from qtpy.QtGui import QDesktopServices


class TensorBoard(QObject):
    """Starts TensorBoard on a folder and opens the browser when it answers.

    It is ended when another is started, and with the window.
    """

    opened = Signal(str)
    failed = Signal(str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._process: Any = None
        self._output = ""

    def open(self, folder: Path) -> None:
        self.close()
        if find_spec("tensorboard") is None:
            self.failed.emit("it is not installed; install it with: pip install tensorboard")
            return
        self._output = ""
        self._process = process = QProcess(self)
        process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        process.readyReadStandardOutput.connect(self._on_output)
        process.finished.connect(self._on_finished)
        arguments = ["--logdir", str(folder), "--host", "127.0.0.1", "--port", "0"]
        process.start(sys.executable, ["-m", "tensorboard.main", *arguments])

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def _on_output(self) -> None:
        if self._process is None:
            return
        before = self._output
        self._output += bytes(self._process.readAllStandardOutput()).decode(errors="replace")
        address = re.search(r"http://\S+", self._output)
        if address and not re.search(r"http://\S+", before):
            QDesktopServices.openUrl(QUrl(address.group()))
            self.opened.emit(address.group())

    def _on_finished(self, _code: int) -> None:
        process = self.sender()
        process.deleteLater()
        if process is self._process:
            self._process = None
            last = self._output.strip().splitlines()
            self.failed.emit(last[-1] if last else "TensorBoard ended at once.")
