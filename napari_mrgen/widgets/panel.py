"""The base of the three panels: their size, how they report problems, and how they close."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QEvent, QEventLoop, QObject, QSize, Qt, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QApplication, QDialog, QLabel, QMainWindow, QVBoxLayout, QWidget

from napari_mrgen.widgets.parts import Note

PANEL_WIDTH = 340
"""Narrow enough to stand beside the images on a 1366-pixel screen."""

_closed_while_busy: set[Panel] = set()
"""Panels that were taken out of the window and are kept until their work is saved."""


class Panel(QWidget):
    """A dock widget that works in the background.

    While it is busy, a window that is closed waits until the work is stopped and saved; a panel
    that is taken out of its window does the same without it. Subclasses set ``is_busy``, implement
    `stop`, and call `work_ended`.
    """

    closing_message = "The panel was closed: its run is being stopped and saved."
    _saved = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumWidth(PANEL_WIDTH)
        self.is_busy = False
        self.is_closing = False
        """Whether the window waits for the work to be saved."""
        self.headline = Note()
        self.headline.setObjectName("headline")
        # A weak reference: a panel that is kept must not keep the window that it was in.
        self._window: Callable[[], QMainWindow | None] = lambda: None
        QApplication.instance().aboutToQuit.connect(self._wait)

    def stop(self) -> None:
        """Ask for the work to be saved and ended."""
        raise NotImplementedError

    def work_ended(self) -> None:
        """Let the window close that waited for the work."""
        self._saved.emit()
        _closed_while_busy.discard(self)

    def complain(self, sentence: str) -> None:
        """Say what is wrong, in the panel and as a notification."""
        self.headline.say(sentence, warning=True)
        show_error(sentence)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Ask for no more room than the panel needs beside the images."""
        return QSize(PANEL_WIDTH, 600)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Find the main window around the panel, docked or floating, and watch it close."""
        super().showEvent(event)
        widget = self.parentWidget()
        while widget is not None and not isinstance(widget, QMainWindow):
            widget = widget.parentWidget()
        if widget is not None and widget is not self._window():
            self._window = weakref.ref(widget)
            widget.installEventFilter(self)

    def event(self, event: QEvent) -> bool:
        """Stop and save when the panel is taken out of the window for good."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None and self.is_busy:
            _closed_while_busy.add(self)
            self.stop()
            show_info(self.closing_message)
        return bool(super().event(event))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Hold the window's close event until the work is saved."""
        if watched is not self._window() or event.type() != QEvent.Type.Close:
            return False
        if self.is_closing:
            event.ignore()
            return True
        self._wait()
        return False

    def _wait(self) -> None:
        """Stop and wait in an event loop of its own, so that the window still answers."""
        if self.is_closing or not self.is_busy:
            return
        self.is_closing = True
        loop = QEventLoop()
        self._saved.connect(loop.quit)
        message = _message(self._window())
        message.show()
        self.stop()
        if self.is_busy:
            loop.exec()
        message.close()
        self.is_closing = False


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
