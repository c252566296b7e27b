"""The stream of samples follows from the seed and the step alone."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_mrgen.engine.failures import NotANumberError
from napari_mrgen.engine.loop import Batches, Throughput
from napari_mrgen.engine.task import Batch, Draws

DRAWS = Draws((0, "stage"))


class Numbers:
    """Samples that tell their index, and a draw."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def sample(self, index: int, generator: torch.Generator) -> Batch:
        return {"index": torch.tensor(index), "draw": torch.rand((), generator=generator)}


def indices(batches: Batches, steps: int) -> list[int]:
    return [i for step in range(steps) for i in batches(step)["index"].tolist()]


@given(length=st.integers(1, 20), size=st.integers(1, 25), epochs=st.integers(1, 4))
def test_every_epoch_sees_every_sample_once(length: int, size: int, epochs: int) -> None:
    seen = indices(Batches(Numbers(length), DRAWS, size), -(-length * epochs // size))
    for start in range(0, length * epochs, length):
        assert sorted(seen[start : start + length]) == list(range(length))


@given(length=st.integers(1, 20), size=st.integers(1, 12), step=st.integers(0, 50))
def test_a_batch_follows_from_its_step(length: int, size: int, step: int) -> None:
    walked = Batches(Numbers(length), DRAWS, size)
    for earlier in range(step):
        walked(earlier)
    here, there = walked(step), Batches(Numbers(length), DRAWS, size)(step)
    assert all(torch.equal(here[key], there[key]) for key in here)


@given(size=st.integers(1, 4), processes=st.integers(1, 4), step=st.integers(0, 9))
def test_processes_share_the_batch_of_one(size: int, processes: int, step: int) -> None:
    whole = Batches(Numbers(7), DRAWS, size * processes)(step)["draw"].tolist()
    parts = [
        Batches(Numbers(7), DRAWS, size * processes, rank, processes)(step)["draw"].tolist()
        for rank in range(processes)
    ]
    assert Counter(whole) == Counter(draw for part in parts for draw in part)
    assert {len(part) for part in parts} == {size}


def test_epochs_differ_in_order_and_draws() -> None:
    batches = Batches(Numbers(10), DRAWS, 10)
    first, second = batches(0), batches(1)
    assert first["index"].tolist() != second["index"].tolist()
    assert not set(first["draw"].tolist()) & set(second["draw"].tolist())


@pytest.mark.parametrize("key", [(1, "stage"), (0, "other")])
def test_seed_and_stage_decide(key: tuple[int, str]) -> None:
    here = Batches(Numbers(10), DRAWS, 10)(0)
    there = Batches(Numbers(10), Draws(key), 10)(0)
    assert here["draw"].tolist() != there["draw"].tolist()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_means_since_the_last_reading(clock: list[float]) -> None:
    throughput = Throughput("stage", 0, 10)
    for value in (1.0, 3.0):
        throughput.add({"error": torch.tensor(value)})
    assert throughput.read(2).losses == {"error": 2.0}
    throughput.add({"error": torch.tensor(7.0)})
    assert throughput.read(3).losses == {"error": 7.0}


def test_time_left_counts_training_only(clock: list[float]) -> None:
    throughput = Throughput("stage", 5, 25)
    clock[0] += 15
    throughput.exclude(5)
    stepped = throughput.read(10)
    assert (stepped.seconds_per_step, stepped.seconds_left) == (2.0, 30.0)


def test_events_come_often_at_first_and_seldom_later(clock: list[float]) -> None:
    throughput, told = Throughput("stage", 0, 10**6), []
    for step in range(1, 100_000):
        clock[0] += 0.1
        if throughput.is_due(step):
            told.append(clock[0])
            throughput.read(step)
    gaps = [b - a for a, b in pairwise(told)]
    assert min(gaps) > 0.2
    assert max(gaps) < 5.2
    assert len(told) < 3500  # Of 100,000 steps in 10,000 s.


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_an_error(value: float) -> None:
    throughput = Throughput("stage", 0, 10)
    throughput.add({"error": torch.tensor(value)})
    with pytest.raises(NotANumberError, match="step 1 of 'stage'"):
        throughput.read(1)
