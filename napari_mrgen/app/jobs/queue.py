"""Queue: jobs that wait for each other, and where each of them stands. No Qt, no napari.

The window adds, orders and removes; the worker takes the next one when the one before has ended.
Both do so at any time, so each change is made under a lock, and what is shown is a frozen value.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from napari_mrgen.app.jobs.file import Job
from napari_mrgen.app.jobs.run import JobOutcome, JobProgress, JobStarted, Report
from napari_mrgen.app.session import Phase, RunState, after
from napari_mrgen.engine.run.events import Event
from napari_mrgen.errors import MrgenError

if TYPE_CHECKING:
    from napari_mrgen.app.result_folder import ScanResult

State = Literal["waiting", "running", "finished", "failed", "stopped"]


@dataclass(frozen=True)
class Entry:
    """A job in the queue."""

    job: Job
    state: State = "waiting"
    said: str = ""
    """Where it is, or what went wrong."""
    share: float | None = None
    """Fraction of the current work that is done, where that is known."""

    @property
    def may_move(self) -> bool:
        return self.state != "running"

    @property
    def text(self) -> str:
        """What the job is, for names alone do not tell two of a family apart."""
        job = self.job
        kind = f"{job.family}, {job.preset}" if job.trains else f"{job.model}"
        settings = ", ".join(f"{name} {value}" for name, value in job.settings.items())
        return f"{job.task.replace('_', ' ')}: {kind}" + (f"; {settings}" if settings else "")


class Queue:
    """The list, from first to last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run = RunState()
        self.entries: tuple[Entry, ...] = ()

    def add(self, jobs: Iterable[Job]) -> None:
        """Put jobs at the end.

        Raises
        ------
        MrgenError
            If one has the name or the folder of another.
        """
        with self._lock:
            entries = list(self.entries)
            for job in jobs:
                same = [e for e in entries if job.name == e.job.name or job.out == e.job.out]
                if same:
                    msg = f"{job.name} is in the queue already, or its folder is; change its name."
                    raise MrgenError(msg)
                entries.append(Entry(job))
            self.entries = tuple(entries)

    def remove(self, index: int) -> None:
        """Take a job out, unless it runs; what it has written stays."""
        with self._lock:
            if self.entries[index].may_move:
                self.entries = self.entries[:index] + self.entries[index + 1 :]

    def move(self, index: int, by: int) -> int:
        """Let a job change places with its neighbour; return where it is then."""
        with self._lock:
            other = index + by
            entries = list(self.entries)
            if not 0 <= other < len(entries):
                return index
            entries[index], entries[other] = entries[other], entries[index]
            self.entries = tuple(entries)
            return other

    def wait_again(self) -> None:
        """Let what was stopped or has failed have another turn."""
        with self._lock:
            self.entries = tuple(
                Entry(e.job) if e.state in ("stopped", "failed") else e for e in self.entries
            )

    def take(self) -> Job | None:
        """Return the first job that waits, which runs from now on; None if there is none."""
        with self._lock:
            for index, entry in enumerate(self.entries):
                if entry.state == "waiting":
                    self._put(index, replace(entry, state="running", said="Getting ready…"))
                    return entry.job
        return None

    def follow(self, report: Report) -> None:
        """Note what a job says of itself."""
        match report:
            case JobStarted(job):
                self._run = RunState(phase=Phase.STARTING, run_dir=job.out)
            case JobProgress(job, said):
                self._tell(job, said)
            case JobOutcome(job):
                self._change(job, state=report.state, said=report.problem, share=None)

    def _tell(self, job: Job, said: Event | ScanResult) -> None:
        if isinstance(said, Event):
            self._run = after(said, self._run)
            self._change(job, said=self._run.headline, share=self._run.shown_fraction)
        else:
            where = f"Predicting: scan {said.number} of {said.total}"
            self._change(job, said=where, share=said.number / said.total)

    @property
    def can_start(self) -> bool:
        return any(entry.state in ("waiting", "stopped", "failed") for entry in self.entries)

    @property
    def running(self) -> Entry | None:
        return next((entry for entry in self.entries if entry.state == "running"), None)

    @property
    def summary(self) -> str:
        """How far the whole list is, in one line."""
        counts = dict.fromkeys(("finished", "failed", "stopped", "running", "waiting"), 0)
        for entry in self.entries:
            counts[entry.state] += 1
        return ", ".join(f"{count} {state}" for state, count in counts.items() if count)

    def end(self) -> None:
        """Note that the worker is gone: nothing runs any more, whatever was said of it."""
        with self._lock:
            self.entries = tuple(
                replace(e, state="stopped", share=None) if e.state == "running" else e
                for e in self.entries
            )

    def _change(self, job: Job, **changes: object) -> None:
        with self._place(job) as index:
            if index is not None:
                self._put(index, replace(self.entries[index], **changes))  # type: ignore[arg-type]

    @contextmanager
    def _place(self, job: Job) -> Iterator[int | None]:
        with self._lock:
            names = [entry.job.name for entry in self.entries]
            yield names.index(job.name) if job.name in names else None

    def _put(self, index: int, entry: Entry) -> None:
        self.entries = (*self.entries[:index], entry, *self.entries[index + 1 :])
