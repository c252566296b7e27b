"""Control: how a window or a signal handler steers a run in another thread."""

from __future__ import annotations

import threading


class Control:
    """Thread-safe pause, resume and stop, handed to `fit` and to `generate`."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._go = threading.Event()
        self._go.set()

    def stop(self) -> None:
        """Ask the run to end after this step, saved; a paused run ends too."""
        self._stop.set()
        self._go.set()

    def pause(self) -> None:
        self._go.clear()

    def resume(self) -> None:
        self._go.set()

    @property
    def is_stopped(self) -> bool:
        return self._stop.is_set()

    @property
    def is_paused(self) -> bool:
        return not self._go.is_set() and not self.is_stopped

    def wait(self, timeout: float) -> bool:
        """Block while paused, at most ``timeout`` s; return whether the run may go on."""
        return self._go.wait(timeout)
