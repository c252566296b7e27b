"""Run jobs one after the other; a job that fails does not end the rest.

Work that is already done is not repeated: an interrupted training resumes, an interrupted
prediction continues with the next scan. Running a file of jobs again therefore completes it.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_mrgen import families
from napari_mrgen.app.inputs import gather
from napari_mrgen.app.jobs.file import Job, plain
from napari_mrgen.app.jobs.notify import Notices, Occasion
from napari_mrgen.app.outputs import check_folder
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import Family, TrainConfig
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.folder import Run, is_taken, write_json
from napari_mrgen.engine.run.pictures import read_curves
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.files import drafted, open_table, remove_drafts
from napari_mrgen.wording import format_duration

if TYPE_CHECKING:
    from napari_mrgen.app.result_folder import ScanResult

State = Literal["finished", "failed", "stopped"]
Export = Callable[[Path, Path], Iterable[object]]
"""Writes the networks of a model for use elsewhere, one by one: the model, and a file to write."""

RECORD, LOG = "job.json", "failure.log"
MODEL, HISTORY, WEIGHTS = "model.safetensors", "history.csv", "weights"
EXPORT, _EXPORTED = "export", "exported.json"
PREDICTIONS = "predictions"
SUMMARY = "summary.csv"


@dataclass(frozen=True)
class JobStarted:
    """A job has its turn."""

    job: Job


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended."""

    job: Job
    state: State
    problem: str = ""
    details: str = ""
    """For a report, of what should not happen."""
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of a model that this job has trained, on held-out subjects."""


@dataclass(frozen=True)
class JobProgress:
    """What a job says on the way."""

    job: Job
    event: Event | ScanResult


Report = JobStarted | JobProgress | JobOutcome | events.Warned


def run_jobs(
    jobs: Iterable[Job],
    control: Control,
    *,
    notices: Notices | None = None,
    export: Export | None = None,
) -> Iterator[Report]:
    """Do jobs until there is none left or a stop is asked for; nothing is raised.

    Parameters
    ----------
    jobs
        Asked for the next one when the one before has ended, so a queue may change meanwhile.
    notices
        Recipients of a notice when the work starts and ends, and after each job.
    export
        What a job that wants its model exported uses.
    """
    notify = _NoticeSender(notices)
    ended: list[JobOutcome] = []
    for job in jobs:
        if not ended:
            yield from notify("start", "Jobs have started", f"The first one is {job.name}.")
        yield JobStarted(job)
        outcome = yield from _run_guarded(job, control, export)
        ended.append(outcome)
        yield outcome
        occasion: Occasion = "failure" if outcome.state == "failed" else "task"
        yield from notify(occasion, f"{job.name} {outcome.state}", describe_outcome(outcome))
        if control.is_stopped:
            break
    if ended:
        text = "\n\n".join(describe_outcome(outcome) for outcome in ended)
        yield from notify("end", _closing(ended), text)


def check_paths(jobs: Iterable[Job]) -> None:
    """Refuse inputs that are not there, unless a job before makes them."""
    made: list[Path] = []
    for job in jobs:
        for path in chain(*job.inputs.values(), job.prediction.inputs.values()):
            if not path.exists() and not any(path.is_relative_to(folder) for folder in made):
                msg = f"Job {job.name!r}: there is no {path}; check the path."
                raise MrgenError(msg)
        made.append(job.out)


def describe_outcome(outcome: JobOutcome) -> str:
    """Say how a job ended, for a person who is not there."""
    lines = [
        f"{outcome.job.name} ({outcome.job.task}): {outcome.state} after {outcome.seconds:.0f} s.",
        outcome.problem,
        *(f"{name}: {value:.4g}" for name, value in outcome.metrics.items()),
        f"Its folder is {outcome.job.out}.",
    ]
    return "\n".join(line for line in lines if line)


def _closing(ended: list[JobOutcome]) -> str:
    failed = sum(outcome.state == "failed" for outcome in ended)
    if ended[-1].state == "stopped":
        return f"Jobs were stopped after {len(ended)}"
    return f"All {len(ended)} jobs have ended" + (f", {failed} of them failed" if failed else "")


class _NoticeSender:
    """Sends notices; what could not be sent becomes a warning."""

    def __init__(self, notices: Notices | None) -> None:
        self._notices = notices

    def __call__(self, occasion: Occasion, title: str, text: str) -> Iterator[events.Warned]:
        if self._notices is not None:
            for problem in self._notices.send(occasion, f"napari-mrgen: {title}", text):
                yield events.Warned(problem)


# ---------------------------------------------------------------- one job


class _Ended(Exception):  # noqa: N818 - no error: a job that is not to go on
    def __init__(self, state: State, problem: str = "", details: str = "") -> None:
        super().__init__(problem)
        self.state, self.problem, self.details = state, problem, details


def _run_guarded(
    job: Job, control: Control, export: Export | None
) -> Generator[JobProgress, None, JobOutcome]:
    """Yield what a job says; return its outcome, whatever happens."""
    began = time.monotonic()
    try:
        yield from _run(job, control, export)
        outcome = JobOutcome(job, "finished", metrics=read_metrics(job))
    except _Ended as end:
        outcome = JobOutcome(job, end.state, end.problem, end.details)
    except MrgenError as error:
        outcome = JobOutcome(job, "failed", str(error))
    except Exception as error:  # noqa: BLE001 - reported, and the next job has its turn
        lines = str(error).strip().splitlines()
        problem = (
            f"{type(error).__name__}: {lines[0].rstrip('.')}."
            if lines
            else f"{type(error).__name__}."
        )
        outcome = JobOutcome(job, "failed", problem, traceback.format_exc())
    return replace(_with_log(outcome), seconds=time.monotonic() - began)


def _with_log(outcome: JobOutcome) -> JobOutcome:
    """Keep the details in the job's folder, and say where they are."""
    path = outcome.job.out / LOG
    try:
        if not outcome.details:
            path.unlink(missing_ok=True)
            return outcome
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(outcome.details, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return outcome
    return replace(outcome, problem=f"{outcome.problem} Details are in {path}.")


def _run(job: Job, control: Control, export: Export | None) -> Iterator[JobProgress]:
    remove_drafts(job.out, (WEIGHTS, PREDICTIONS, EXPORT))
    if job.trains:
        yield from _train(job, control)
        write_history(job.out)
    if job.trains and job.export:
        yield JobProgress(job, events.Progress("Exporting the model"))
        _export(job, export)
    if job.predicts:
        from napari_mrgen.app.jobs.predict import predict

        for event in predict(job, control):
            yield JobProgress(job, event)
        if control.is_stopped:
            raise _Ended("stopped")


def _train(job: Job, control: Control) -> Iterator[JobProgress]:
    family, config = job.train_family(), job.train_config()
    if is_taken(job.out):
        check_same(job, config)
        source = _go_on(job, control)
    else:
        source = _begin(job, family, config, control)
    last: Event | None = None
    for event in source:
        keep_weights(job, event)
        last = event
        yield JobProgress(job, event)
    if isinstance(last, events.Failed):
        raise _Ended("failed", f"{last.message} {last.advice}".strip(), last.details)
    if not isinstance(last, events.Finished):
        raise _Ended("stopped")


def _begin(job: Job, family: Family, config: TrainConfig, control: Control) -> Iterator[Event]:
    check_folder(job.out)
    yield events.Progress("Looking for the scans")
    inputs = gather(family, job.inputs, config, job.split)
    from napari_mrgen.engine.fit import fit

    job.out.mkdir(parents=True, exist_ok=True)
    write_record(job)
    yield from fit(
        family, config, inputs, job.out, control,
        device=job.device, precision=job.precision,
        only_stage=job.stage, start_from=job.start_from,
    )  # fmt: skip


def _go_on(job: Job, control: Control) -> Iterator[Event]:
    run = Run(job.out)
    if run.status == "finished" and (job.out / MODEL).exists():
        yield run.history[-1]
        return
    from napari_mrgen.engine.fit import resume

    yield from resume(job.out, families.get, control, device=job.device)


def write_record(job: Job) -> None:
    """Note in the job's folder what its training is."""
    settings = job.train_config().model_dump(mode="json")
    write_json(job.out / RECORD, {"job": plain(job), "settings": settings})


_COMPARED = ("family", "inputs", "stage", "start_from", "split")
"""What makes another training of a job, beside its settings."""


def check_same(job: Job, config: TrainConfig) -> None:
    """Refuse to go on with a run that another training began."""
    try:
        known = json.loads((job.out / RECORD).read_text(encoding="utf-8"))
        before = type(config).parse(known["settings"])
        was = {key: known["job"].get(key) for key in _COMPARED}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MrgenError):
        msg = f"{job.out} holds a run that this job did not begin; give the job another `out`."
        raise MrgenError(msg) from None
    now = {key: plain(job).get(key) for key in _COMPARED}
    changed = [f"{key} was {was[key]}" for key in _COMPARED if was[key] != now[key]]
    if before != config:
        old, new = before.model_dump(mode="json"), config.model_dump(mode="json")
        changed += [f"{k} was {old[k]}, not {new[k]}" for k in new if old.get(k) != new[k]]
    if changed:
        msg = (
            f"{job.out} holds a training that differs ({'; '.join(changed)}); give the job another "
            "name, or remove the folder."
        )
        raise MrgenError(msg)


def _export(job: Job, export: Export | None) -> None:
    if export is None:
        raise MrgenError("Models cannot be exported here; leave `export` out.")
    folder = job.out / EXPORT
    if (folder / _EXPORTED).exists():
        return
    folder.mkdir(exist_ok=True)
    list(export(job.out / MODEL, folder / f"model.{job.export}"))
    write_json(folder / _EXPORTED, sorted(path.name for path in folder.glob(f"*.{job.export}")))


def read_metrics(job: Job) -> dict[str, float]:
    """Return the model's row of its scoreboard; nothing where there is none."""
    try:
        rows = json.loads((job.out / "scoreboard.json").read_text(encoding="utf-8"))["rows"]
        means = rows[0]["mean"].items()
        return {name: float(value) for name, value in means if value is not None}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


# ---------------------------------------------------------------- files of a training


def keep_weights(job: Job, event: Event) -> None:
    """Keep the model of every checkpoint, or as many as the job wants, spread over the training.

    The files are whole models, named by stage and step.
    """
    if not isinstance(event, events.Saved) or job.weights == 0:
        return
    folder = job.out / WEIGHTS
    folder.mkdir(exist_ok=True)
    _keep(job.out / "model.safetensors", folder / f"{event.stage}-{event.step:08d}.safetensors")
    if job.weights != "all":
        of_stage = sorted(folder.glob(f"{event.stage}-*.safetensors"))
        steps = [int(path.stem.rpartition("-")[2]) for path in of_stage]
        kept = spread(steps, job.weights)
        for path, step in zip(of_stage, steps, strict=True):
            if step not in kept:
                path.unlink()


def spread(steps: Sequence[int], count: int) -> tuple[int, ...]:
    """Return ``count`` of the ascending steps, as evenly as they can be had one by one.

    The last is always kept; of the others that one goes first whose neighbours are nearest.
    """
    kept = list(steps)
    while len(kept) > count:
        around = [0, *kept]
        gaps = [around[k + 2] - around[k] for k in range(len(kept) - 1)]
        del kept[gaps.index(min(gaps)) if gaps else 0]
    return tuple(kept)


def _keep(model: Path, path: Path) -> None:
    """Take the model file as it is: it is replaced later, never changed, so a link is enough."""
    with drafted(path) as draft:
        try:
            os.link(model, draft)
        except OSError:  # Not every disk has links.
            shutil.copyfile(model, draft)


def write_history(run_dir: Path) -> None:
    """Write all metrics of a run as a table: a line for each step that has any."""
    stages = dict.fromkeys(e.stage for e in Run(run_dir).history if hasattr(e, "stage"))
    rows: list[dict[str, object]] = []
    for stage in stages:
        steps: dict[int, dict[str, object]] = {}
        for name, curve in read_curves(run_dir / "metrics.csv", stage).items():
            for step, value in curve:
                steps.setdefault(step, {"stage": stage, "step": step})[name] = value
        rows += [steps[step] for step in sorted(steps)]
    names = dict.fromkeys(name for row in rows for name in row)
    with (
        drafted(run_dir / HISTORY) as draft,
        open_table(draft, "w") as file,
    ):
        table = csv.DictWriter(file, names or ("stage", "step"), restval="")
        table.writeheader()
        table.writerows(rows)


# ---------------------------------------------------------------- a table of all jobs


@dataclass(frozen=True)
class JobSummary:
    """All jobs of a list, those that never had their turn too."""

    jobs: tuple[Job, ...]
    outcomes: tuple[JobOutcome, ...]

    @property
    def failed(self) -> tuple[JobOutcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.state == "failed")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics that any job has, in the order in which they come."""
        return tuple(dict.fromkeys(name for o in self.outcomes for name in o.metrics))

    def rows(self, most_metrics: int) -> list[tuple[str, ...]]:
        """Return the table in words, with its head; metrics that no job has are left out."""
        names = self.metrics[:most_metrics]
        ended = {outcome.job.name: outcome for outcome in self.outcomes}
        rows = [("job", "task", "state", "time", *names)]
        for job in self.jobs:
            outcome = ended.get(job.name)
            if outcome is None:
                rows.append((job.name, job.task, "waiting", "–", *("–" for _ in names)))
                continue
            cells = (outcome.metrics.get(name) for name in names)
            shown = ("–" if value is None else f"{value:.4g}" for value in cells)
            rows.append(
                (job.name, job.task, outcome.state, format_duration(outcome.seconds), *shown)
            )
        return rows

    def write(self, path: Path) -> None:
        """Write the table with all metrics as CSV."""
        with drafted(path) as draft, open_table(draft, "w") as file:
            table = csv.writer(file)
            table.writerow(("job", "task", "state", "seconds", "problem", "out", *self.metrics))
            for outcome in self.outcomes:
                job = outcome.job
                facts = (job.name, job.task, outcome.state, f"{outcome.seconds:.1f}")
                metrics = (outcome.metrics.get(name, "") for name in self.metrics)
                table.writerow((*facts, outcome.problem, job.out, *metrics))


def summary_file(jobs: Sequence[Job]) -> Path | None:
    """Return where the table goes: beside the folders of the jobs, if they are in one folder."""
    parents = {job.out.parent for job in jobs}
    return parents.pop() / SUMMARY if len(parents) == 1 else None
