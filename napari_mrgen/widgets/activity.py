"""Activity: a run's progress in napari's own activity dock."""

from __future__ import annotations

from napari.utils import progress

RESOLUTION = 1000


class Activity:
    """One bar while something runs; without a known share done it only moves."""

    def __init__(self) -> None:
        self._bar: progress | None = None

    def show(self, text: str, fraction: float | None = None) -> None:
        total = 0 if fraction is None else RESOLUTION
        if self._bar is not None and self._bar.total != total:
            self.close()
        if self._bar is None:
            self._bar = progress(total=total, desc=text)
        elif self._bar.desc.removesuffix(": ") != text:
            self._bar.set_description(text)
        if fraction is not None:
            self._bar.update(round(fraction * RESOLUTION) - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
