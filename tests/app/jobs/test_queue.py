"""The queue's list, and what jobs say of themselves; no window."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from napari_mrgen.app.jobs.file import Job
from napari_mrgen.app.jobs.queue import Entry, Queue
from napari_mrgen.app.jobs.run import JobOutcome, JobProgress, JobStarted
from napari_mrgen.engine.run import events
from napari_mrgen.errors import MrgenError


def job(name: str) -> Job:
    return Job(name=name, task="predict", model=Path("m"), out=Path("/out") / name)


def names(queue: Queue) -> list[str]:
    return [entry.job.name for entry in queue.entries]


def states(queue: Queue) -> list[str]:
    return [entry.state for entry in queue.entries]


@pytest.fixture
def queue() -> Queue:
    made = Queue()
    made.add([job("a"), job("b"), job("c")])
    return made


def test_there_and_back_is_the_same_order(queue: Queue) -> None:
    assert queue.move(queue.move(0, 1), -1) == 0
    assert names(queue) == ["a", "b", "c"]


def test_the_ends_are_the_ends(queue: Queue) -> None:
    assert (queue.move(0, -1), queue.move(2, 1)) == (0, 2)
    assert names(queue) == ["a", "b", "c"]


def test_a_name_is_there_once(queue: Queue) -> None:
    with pytest.raises(MrgenError, match="b is in the queue already"):
        queue.add([job("d"), job("b")])
    assert names(queue) == ["a", "b", "c"]


def test_jobs_are_taken_in_their_order_as_it_is_then(queue: Queue) -> None:
    first = queue.take()
    assert first is not None
    queue.move(2, -1)
    assert [one.name for one in iter(queue.take, None)] == ["c", "b"]
    assert queue.take() is None


def test_what_runs_stays(queue: Queue) -> None:
    queue.take()
    queue.remove(0)
    assert names(queue) == ["a", "b", "c"]
    queue.remove(1)
    assert names(queue) == ["a", "c"]


def test_a_job_tells_where_it_is_and_how_it_ends(queue: Queue) -> None:
    one = queue.take()
    assert one is not None
    queue.follow(JobStarted(one))
    queue.follow(JobProgress(one, events.Started("/out/a", "toy", "CPU", ("first",))))
    queue.follow(JobProgress(one, events.StageStarted("first", "First", 0, 100)))
    queue.follow(JobProgress(one, events.Stepped("first", 25, 100, {}, 0.1, 7.5)))
    running = queue.running
    assert running is not None
    assert running.share == 0.25
    assert "step 25 of 100" in running.message
    queue.follow(JobOutcome(one, "failed", "The disk is full."))
    assert queue.entries[0].message == "The disk is full."
    assert states(queue) == ["failed", "waiting", "waiting"]
    assert queue.summary == "1 failed, 2 waiting"


def test_what_failed_or_was_stopped_gets_another_turn(queue: Queue) -> None:
    for state in ("failed", "stopped", "finished"):
        one = queue.take()
        assert one is not None
        queue.follow(JobOutcome(one, state))  # type: ignore[arg-type]
    assert queue.can_start
    queue.wait_again()
    assert states(queue) == ["waiting", "waiting", "finished"]


def test_when_the_worker_is_gone_nothing_runs(queue: Queue) -> None:
    queue.take()
    queue.end()
    assert states(queue) == ["stopped", "waiting", "waiting"]


def test_no_job_is_taken_twice() -> None:
    queue = Queue()
    queue.add(job(f"job {number}") for number in range(200))
    taken: list[str] = []
    workers = [
        threading.Thread(target=lambda: taken.extend(j.name for j in iter(queue.take, None)))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for _ in range(50):
        queue.move(150, 1)
    for worker in workers:
        worker.join()
    assert sorted(taken) == sorted(f"job {number}" for number in range(200))


def test_jobs_of_one_family_are_told_apart_by_their_settings() -> None:
    common = {"family": "reconstruction", "preset": "tiny", "out": Path("/out")}
    wide = Job(name="w", task="train_and_predict", settings={"width": 16, "depth": 3}, **common)
    text = "train and predict: reconstruction, tiny"
    assert Entry(wide).text == f"{text}; width 16, depth 3"
    assert Entry(wide.model_copy(update={"settings": {}})).text == text
    assert Entry(job("a")).text == "predict: m"
