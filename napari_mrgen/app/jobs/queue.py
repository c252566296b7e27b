"""A queue of jobs and the state of each.

The window adds, orders and removes jobs; its worker takes the next one when one has ended. Both may
do so at any time: each change is made under a lock, and what is shown is a frozen value.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from napari_mrgen.app.jobs.file import Job, nearest_preset
from napari_mrgen.app.jobs.notify import Notices
from napari_mrgen.app.jobs.run import JobOutcome, JobProgress, JobStarted, Report, run_jobs
from napari_mrgen.app.saved_inputs import save_sources
from napari_mrgen.app.session import Phase, RunState, TrainRequest, after
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.run import events
from napari_mrgen.errors import MrgenError

State = Literal["waiting", "running", "finished", "failed", "stopped"]


@dataclass(frozen=True)
class Entry:
    """A job in the queue."""

    job: Job
    state: State = "waiting"
    message: str = ""
    """How far it is, or what went wrong."""
    share: float | None = None
    """Fraction of the current work that is done, where that is known."""

    @property
    def may_move(self) -> bool:
        return self.state != "running"

    @property
    def text(self) -> str:
        """What the job is: names alone do not distinguish two of a family."""
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
        """Let jobs wait again that were stopped or have failed."""
        with self._lock:
            self.entries = tuple(
                Entry(e.job) if e.state in ("stopped", "failed") else e for e in self.entries
            )

    def take(self) -> Job | None:
        """Return the first job that waits, which runs from now on; None if there is none."""
        with self._lock:
            for index, entry in enumerate(self.entries):
                if entry.state == "waiting":
                    self._put(index, replace(entry, state="running", message="Getting ready…"))
                    return entry.job
        return None

    def follow(self, report: Report) -> None:
        """Update the state of a job by one of its reports."""
        match report:
            case JobStarted(job):
                self._run = RunState(phase=Phase.STARTING, run_dir=job.out)
            case JobProgress(job, event) if isinstance(event, events.Event):
                self._run = after(event, self._run)
                headline, share = self._run.headline, self._run.shown_fraction
                self._change(job, message=headline, share=share)
            case JobProgress(job, scan) if not isinstance(scan, events.Event):
                text = f"Predicting: scan {scan.number} of {scan.total}"
                self._change(job, message=text, share=scan.number / scan.total)
            case JobOutcome(job):
                self._change(job, state=report.state, message=report.problem, share=None)

    @property
    def can_start(self) -> bool:
        return any(entry.state in ("waiting", "stopped", "failed") for entry in self.entries)

    @property
    def running(self) -> Entry | None:
        return next((entry for entry in self.entries if entry.state == "running"), None)

    @property
    def summary(self) -> str:
        """Number of jobs in each state, in one line."""
        counts = dict.fromkeys(("finished", "failed", "stopped", "running", "waiting"), 0)
        for entry in self.entries:
            counts[entry.state] += 1
        return ", ".join(f"{count} {state}" for state, count in counts.items() if count)

    def end(self) -> None:
        """Mark what still counts as running as stopped: the worker has ended."""
        with self._lock:
            self.entries = tuple(
                replace(e, state="stopped", share=None) if e.state == "running" else e
                for e in self.entries
            )

    def _change(self, job: Job, **changes: object) -> None:
        with self._lock:
            for index, entry in enumerate(self.entries):
                if entry.job.name == job.name:
                    self._put(index, replace(entry, **changes))  # type: ignore[arg-type]

    def _put(self, index: int, entry: Entry) -> None:
        self.entries = (*self.entries[:index], entry, *self.entries[index + 1 :])


# ---------------------------------------------------------------- in the worker's thread


def as_job(request: TrainRequest, *, predicts: bool) -> Iterator[Job]:
    """Write the layers of a training to files, and yield it as a job that can wait."""
    paths = save_sources(request.sources, request.run_dir / "inputs")
    preset, settings = nearest_preset(request.family, request.config)
    yield Job(
        name=request.run_dir.name,
        task="train_and_predict" if predicts else "train",
        family=request.family.name,
        preset=preset,
        settings=settings,
        inputs={role: tuple(role_paths) for role, role_paths in paths.items()},
        out=request.run_dir,
        device=request.device,
        precision=request.precision,
    )


def run_queue(
    take: Callable[[], Job | None],
    notices: Notices | None,
    control: Control,
    export: Callable[[Path, Path], Iterator[object]],
) -> Iterator[Report]:
    """Run the jobs that ``take`` returns, one after the other, and yield their reports.

    Parameters
    ----------
    take
        Returns the next job, or None at the end.
    export
        Writes a model for use elsewhere.
    """
    try:
        frozen: set[type] = set()
        for report in run_jobs(iter(take, None), control, notices=notices, export=export):
            kind = type(report.event) if isinstance(report, JobProgress) else type(report)
            # A full garbage collection would stop the window: see `window_work`.
            if kind in (events.Started, events.Stepped) and kind not in frozen:
                gc.freeze()
                frozen.add(kind)
            yield report
    finally:
        gc.unfreeze()
