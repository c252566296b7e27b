"""Closing: a window that is closed while a run trains waits until the run is saved."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from qtpy.QtCore import QEvent, QEventLoop, QObject, Qt, Signal
from qtpy.QtWidgets import QApplication, QDialog, QLabel, QMainWindow, QVBoxLayout, QWidget


class ClosingGuard(QObject):
    """Stands before a window's close event.

    Parameters
    ----------
    is_busy, stop
        Whether something is to be saved, and how to ask for it. `let_go` is called when it is.
    """

    _saved = Signal()

    def __init__(self, panel: QWidget, is_busy: Callable[[], bool], stop: Callable[[], None]):
        super().__init__(panel)
        self._panel, self._is_busy, self._stop = panel, is_busy, stop
        # Weak: a panel that is kept must not keep the window that it was in.
        self._window: Callable[[], QMainWindow | None] = lambda: None
        self.is_waiting = False
        QApplication.instance().aboutToQuit.connect(self._wait)

    def watch_window(self) -> None:
        """Find the main window around the panel, docked or floating, and stand before it."""
        widget = self._panel.parentWidget()
        while widget is not None and not isinstance(widget, QMainWindow):
            widget = widget.parentWidget()
        if widget is not None and widget is not self._window():
            self._window = weakref.ref(widget)
            widget.installEventFilter(self)

    def let_go(self) -> None:
        self._saved.emit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        if watched is not self._window() or event.type() != QEvent.Type.Close:
            return False
        if self.is_waiting:
            event.ignore()
            return True
        self._wait()
        return False

    def _wait(self) -> None:
        """Stop and wait in a loop of its own, so that the window still answers meanwhile."""
        if self.is_waiting or not self._is_busy():
            return
        self.is_waiting = True
        loop = QEventLoop()
        self._saved.connect(loop.quit)
        message = _message(self._window())
        message.show()
        self._stop()
        if self._is_busy():
            loop.exec()
        message.close()
        self.is_waiting = False


def _message(parent: QWidget | None) -> QDialog:
    dialog = QDialog(parent, Qt.WindowType.CustomizeWindowHint | Qt.WindowType.WindowTitleHint)
    dialog.setWindowTitle("Saving the run")
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    text = QLabel(
        "A training is still running. It is being stopped and saved; the window closes by itself "
        "when that is done. The run can be resumed later."
    )
    text.setWordWrap(True)
    layout = QVBoxLayout(dialog)
    layout.addWidget(text)
    dialog.resize(380, 90)
    return dialog
