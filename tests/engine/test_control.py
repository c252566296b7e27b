"""Pause, resume and stop from another thread."""

from __future__ import annotations

import threading
import time

from napari_mrgen.engine.control import Control


def test_a_new_control_lets_go_on() -> None:
    control = Control()
    assert not control.is_stopped
    assert not control.is_paused
    assert control.wait(0)


def test_pause_holds_until_resume() -> None:
    control = Control()
    control.pause()
    assert control.is_paused
    assert not control.wait(0.01)
    threading.Timer(0.05, control.resume).start()
    assert control.wait(5)
    assert not control.is_paused


def test_stop_ends_a_pause_and_stays() -> None:
    control = Control()
    control.pause()
    start = time.monotonic()
    threading.Timer(0.05, control.stop).start()
    assert control.wait(5)
    assert time.monotonic() - start < 2
    control.pause()
    assert control.is_stopped
    assert not control.is_paused
