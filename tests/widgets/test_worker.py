"""Values come to the window's thread, errors never get lost, the window goes first."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from napari_mrgen.widgets import worker
from napari_mrgen.widgets.worker import run_in_thread


class Heard:
    """What a worker said, and in which thread."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.threads: set[int] = set()
        self.ends: list[BaseException | None] = []

    def receive(self, value: Any) -> None:
        self.values.append(value)
        self.threads.add(threading.get_ident())

    def end(self, error: BaseException | None) -> None:
        self.ends.append(error)
        self.threads.add(threading.get_ident())


def run(qtbot: QtBot, make: Any) -> Heard:
    heard = Heard()
    run_in_thread(make, heard.receive, heard.end)
    qtbot.waitUntil(lambda: bool(heard.ends), timeout=5000)
    return heard


def test_values_arrive_in_order_in_the_windows_thread(qtbot: QtBot) -> None:
    heard = run(qtbot, lambda: iter(range(100)))
    assert heard.values == list(range(100))
    assert heard.threads == {threading.get_ident()}
    assert heard.ends == [None]


@pytest.mark.parametrize("error", [RuntimeError("CUDA"), ValueError("x"), StopIteration()])
def test_no_error_vanishes(qtbot: QtBot, error: Exception) -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise error

    heard = run(qtbot, fails)
    assert heard.values == [1]
    assert len(heard.ends) == 1
    assert isinstance(heard.ends[0], (type(error), RuntimeError))


def test_an_error_while_the_generator_is_made_arrives(qtbot: QtBot) -> None:
    def cannot() -> Iterator[int]:
        raise OSError("no such file")

    assert isinstance(run(qtbot, cannot).ends[0], OSError)


def test_a_busy_window_holds_the_generator_back(qtbot: QtBot) -> None:
    made: list[int] = []

    def many() -> Iterator[int]:
        for i in range(200):
            made.append(i)
            yield i

    heard = Heard()
    run_in_thread(many, heard.receive, heard.end)
    time.sleep(0.2)  # the window is busy: no events are processed
    assert len(made) <= worker.WAITING + 1
    qtbot.waitUntil(lambda: bool(heard.ends), timeout=5000)
    assert len(heard.values) == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
def test_the_work_has_a_lower_priority_than_the_window(qtbot: QtBot) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)

    def priority() -> Iterator[int]:
        yield os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert run(qtbot, priority).values == [worker.LEAST_PRIORITY]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_the_interpreter_is_shared_only_while_work_goes_on(qtbot: QtBot) -> None:
    usual = sys.getswitchinterval()

    def interval() -> Iterator[float]:
        yield sys.getswitchinterval()

    assert run(qtbot, interval).values == [pytest.approx(worker.SWITCH_INTERVAL_S)]
    assert sys.getswitchinterval() == pytest.approx(usual)
