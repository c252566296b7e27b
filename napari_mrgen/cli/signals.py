"""Signals: the first Ctrl-C, or a scheduler's SIGTERM, stops and saves; the second one kills."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from napari_mrgen.engine.control import Control


class Steered(Control):
    """A Control that remembers which signal stopped it."""

    def __init__(self) -> None:
        super().__init__()
        self.signal: int | None = None

    @property
    def exit_code(self) -> int:
        """By the shell's custom: 130 after Ctrl-C, 143 after SIGTERM, 0 without either."""
        return 128 + self.signal if self.signal else 0


@contextmanager
def steered() -> Iterator[Steered]:
    """Hand out a control that the signals stop, and put the old handlers back afterwards."""
    control = Steered()
    watched = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, _frame: FrameType | None) -> None:
        control.signal = number
        control.stop()
        for each in watched:
            signal.signal(each, signal.SIG_DFL)
        print("Stopping after this step; once more to kill.", file=sys.stderr, flush=True)

    before = {each: signal.signal(each, stop) for each in watched}
    try:
        yield control
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
