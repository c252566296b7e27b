"""Activity: a run's progress in napari's own activity dock."""

from __future__ import annotations

from napari.utils import progress
from qtpy.QtCore import QObject, QTimer

RESOLUTION = 1000
SOON_MS = 250


class Activity(QObject):
    """One bar while something runs; without a known share done it only moves.

    napari works off all waiting events whenever such a bar changes. So it is changed on a timer,
    a few times a second, and never in the middle of what else an event leads to.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._bar: progress | None = None
        self._shown: tuple[str, float | None] | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(SOON_MS)
        self._timer.timeout.connect(self._on_timer)
        self._is_drawing = False

    def show(self, text: str, fraction: float | None = None) -> None:
        self._shown = (text, fraction)
        if not self._timer.isActive():
            self._timer.start()

    def close(self) -> None:
        self._shown = None
        self._timer.stop()
        if not self._is_drawing:
            self._drop()

    def _on_timer(self) -> None:
        if self._shown is None or self._is_drawing:
            return
        self._is_drawing = True
        self._draw(*self._shown)
        self._is_drawing = False
        if self._shown is None:  # closed by an event that was worked off meanwhile
            self._drop()

    def _draw(self, text: str, fraction: float | None) -> None:
        total = 0 if fraction is None else RESOLUTION
        if self._bar is not None and self._bar.total != total:
            self._drop()
        if self._bar is None:
            self._bar = progress(total=total, desc=text)
        elif self._bar.desc.removesuffix(": ") != text:
            self._bar.set_description(text)
        if fraction is not None:
            self._bar.update(round(fraction * RESOLUTION) - self._bar.n)

    def _drop(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()
