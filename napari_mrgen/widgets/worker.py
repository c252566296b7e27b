"""Worker: the only code in the window that knows threads.

It runs a generator in a thread of its own and hands on to the window's thread what that yields.
napari's generator workers would do the same, but they swallow every RuntimeError, and most of what
goes wrong in PyTorch is one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from qtpy.QtCore import QObject, Signal

LEAST_PRIORITY = 19
"""Niceness of the work: the window goes first."""
SWITCH_INTERVAL_S = 5e-4
WAITING = 16


class Worker(QObject):
    """Iterates a generator in a background thread; the window's thread gets what it yields.

    Parameters
    ----------
    make
        Makes the generator; called in the background thread.
    receive
        Called with each value, in the thread that made the worker.
    end
        Called there once, whatever happens, with the exception that ended the generator, or None.
    """

    _yielded = Signal(object)
    _over = Signal(object)

    def __init__(
        self,
        make: Callable[[], Iterator[Any]],
        receive: Callable[[Any], None],
        end: Callable[[BaseException | None], None],
    ) -> None:
        super().__init__()
        self._make, self._receive, self._end = make, receive, end
        # A window that is busy must not let values pile up in memory: the generator waits for it.
        self._room = threading.Semaphore(WAITING)
        # Not a daemon: a run that is being saved keeps the interpreter alive until it is.
        self._thread = threading.Thread(target=self._run, name="napari-mrgen", daemon=False)
        self._yielded.connect(self._on_yielded)
        self._over.connect(self._on_over)

    def start(self) -> None:
        _running.add(self)
        _share_the_interpreter()
        self._thread.start()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            _lower_priority()
            for value in self._make():
                self._room.acquire()
                self._yielded.emit(value)
        except BaseException as caught:  # noqa: BLE001 - handed on, never lost
            error = caught
        with suppress(RuntimeError):  # the application is gone, and nobody is left to receive it
            self._over.emit(error)

    def _on_yielded(self, value: Any) -> None:
        self._room.release()
        self._receive(value)

    def _on_over(self, error: BaseException | None) -> None:
        self._thread.join()
        _running.discard(self)
        _share_the_interpreter()
        self._end(error)


def run_in_thread(
    make: Callable[[], Iterator[Any]],
    receive: Callable[[Any], None],
    end: Callable[[BaseException | None], None],
) -> None:
    """Iterate what ``make`` makes in a thread of its own; see `Worker`."""
    Worker(make, receive, end).start()


_running: set[Worker] = set()
_usual_interval = sys.getswitchinterval()


def _share_the_interpreter() -> None:
    """While work goes on, let the window have Python's lock ten times sooner than usual."""
    sys.setswitchinterval(SWITCH_INTERVAL_S if _running else _usual_interval)


def _lower_priority() -> None:
    """Let the window go first; on Linux a thread has a priority that its own threads inherit."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LEAST_PRIORITY)
