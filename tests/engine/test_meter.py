"""Losses are told now and then, and are numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from napari_mrgen.engine.failures import NotANumberError
from napari_mrgen.engine.meter import Meter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_means_since_the_last_reading(clock: list[float]) -> None:
    meter = Meter("stage", 0, 10)
    for value in (1.0, 3.0):
        meter.add({"error": torch.tensor(value)})
    assert meter.read(2).losses == {"error": 2.0}
    meter.add({"error": torch.tensor(7.0)})
    assert meter.read(3).losses == {"error": 7.0}


def test_time_left_counts_training_only(clock: list[float]) -> None:
    meter = Meter("stage", 5, 25)
    clock[0] += 15
    meter.leave_out(5)
    stepped = meter.read(10)
    assert (stepped.seconds_per_step, stepped.seconds_left) == (2.0, 30.0)


def test_events_come_often_at_first_and_seldom_later(clock: list[float]) -> None:
    meter, told = Meter("stage", 0, 10**6), []
    for step in range(1, 100_000):
        clock[0] += 0.1
        if meter.is_due(step):
            told.append(clock[0])
            meter.read(step)
    gaps = [b - a for a, b in pairwise(told)]
    assert min(gaps) > 0.2
    assert max(gaps) < 5.2
    assert len(told) < 3500  # Of 100,000 steps in 10,000 s.


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_an_error(value: float) -> None:
    meter = Meter("stage", 0, 10)
    meter.add({"error": torch.tensor(value)})
    with pytest.raises(NotANumberError, match="step 1 of 'stage'"):
        meter.read(1)
