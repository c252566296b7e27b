"""Train a family from start to end, or go on with a run: both are generators of events."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.device import choose, describe, free_bytes
from napari_mrgen.engine.distributed import Team
from napari_mrgen.engine.failures import explain, is_out_of_memory
from napari_mrgen.engine.family import Family, TrainConfig
from napari_mrgen.engine.heap import give_back, set_threshold
from napari_mrgen.engine.job import Job
from napari_mrgen.engine.memory.stepdown import NOTHING_HELPS, announce, find_smaller, step_down
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run import folder as runs
from napari_mrgen.engine.run.environment import record_environment
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.folder import Choices, Lookup, Run
from napari_mrgen.engine.run.journal import Journal
from napari_mrgen.engine.run.lock import locked
from napari_mrgen.engine.stages import train
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.files import remove_drafts


def fit(
    family: Family,
    config: TrainConfig,
    inputs: Inputs,
    run_dir: Path,
    control: Control,
    *,
    device: str = "auto",
    precision: str = "auto",
    only_stage: str | None = None,
    start_from: Path | None = None,
) -> Iterator[Event]:
    """Train a family into a new run folder; never raises, a failure is a last `Failed` event.

    Parameters
    ----------
    run_dir
        May exist and hold ``inputs``, the layers saved for this run.
    precision
        ``"32-true"``, ``"bf16-mixed"`` or ``"auto"``: bfloat16 where it is faster.
    only_stage
        Train this stage alone.
    start_from
        A model file or run folder, whose networks the first trained stage takes over by name.
    """

    def begin(stack: ExitStack) -> Job:
        team = Team(choose(device), precision)
        team.check_batch(config.batch_size)
        start = str(start_from.resolve()) if start_from else None
        choices = Choices(family.name, team.precision, only_stage, start)
        if team.is_first:
            _refuse_taken(run_dir)
            run_dir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(run_dir))
            runs.create(run_dir, choices, config, inputs)
        return Job(family, config, inputs, run_dir, choices, team, control)

    yield from _guarded(begin, lambda job: _tell(job, resumed=False))


def resume(
    run_dir: Path, lookup: Lookup, control: Control, *, device: str = "auto"
) -> Iterator[Event]:
    """Go on with a run that was stopped, failed or was killed, as if nothing had happened.

    A finished run tells `Finished` again. ``lookup`` finds a family by its name.
    """

    def begin(stack: ExitStack) -> Job:
        run = Run(run_dir)
        choices = run.choices
        family = lookup(choices.family)
        config = run.config(family)
        team = Team(choose(device), choices.precision)
        team.check_batch(config.batch_size)
        if team.is_first:
            stack.enter_context(locked(run_dir))
        return Job(family, config, run.inputs, run_dir, choices, team, control)

    yield from _guarded(begin, lambda job: _tell(job, resumed=True))


def _guarded(
    begin: Callable[[ExitStack], Job], work: Callable[[Job], Iterator[Event]]
) -> Iterator[Event]:
    """Yield and record the events of a run; its last one comes when the folder is free again.

    Nothing is raised: napari's generator workers swallow a `RuntimeError` without a word.
    """
    last: Event | None = None
    with ExitStack() as stack:
        job: Job | None = None
        journal: Journal | None = None
        try:
            job = begin(stack)
            journal = stack.enter_context(Journal(job.run_dir)) if job.team.is_first else None
            for event in _enduring(job, work):
                if journal is not None:
                    journal.record(event)
                if isinstance(event, runs.ENDS):
                    last = event
                    break
                yield event
        except Exception as error:  # noqa: BLE001 - told, with its traceback, not raised
            last = explain(error, job.config if job else None, job.team.device if job else None)
            if journal is not None:
                with suppress(OSError):  # The disk may be what failed.
                    journal.record(last)
            if job is not None:
                job.team.leave()
        finally:
            job = None
    if isinstance(last, events.Failed):
        gc.collect()  # What the exception held, a GPU's memory among it, is free for a next try.
    if last is not None:
        yield last


def _enduring(job: Job, work: Callable[[Job], Iterator[Event]]) -> Iterator[Event]:
    """Yield the events of the work; where memory runs out, go on with what needs less."""
    set_threshold(free_bytes(torch.device("cpu")))
    while True:
        try:
            yield from work(job)
        except Exception as error:
            # Several processes would have to agree on it, and one of them is stuck.
            if not is_out_of_memory(error) or job.team.size > 1:
                raise
            failure = error
        else:
            return
        traceback.clear_frames(failure.__traceback__)
        give_back()
        advice = find_smaller(job)
        if advice is None:
            # Told here: the job has stepped down perhaps, and its settings are others by now.
            yield replace(explain(failure, job.config, job.team.device), advice=NOTHING_HELPS)
            return
        yield events.Warned(announce(job, advice))
        del failure
        job = step_down(job, advice)
        work = partial(_tell, resumed=True)


def _tell(job: Job, *, resumed: bool) -> Iterator[Event]:
    title = describe(job.team.device).title
    stages = (job.choices.only_stage,) if job.choices.only_stage else job.config.stages
    yield events.Started(str(job.run_dir), job.family.name, title, stages, resumed)
    if not job.team.is_first:
        yield from train(job)
        return
    finished = [e for e in Run(job.run_dir).history if isinstance(e, events.Finished)]
    if finished:
        yield replace(finished[-1], model=str(job.model_path))
        return
    remove_drafts(job.run_dir, ("checkpoints", "previews", "movies", "figures", "predictions"))
    yield from _warnings(job)
    yield from train(job)


def _warnings(job: Job) -> Iterator[Event]:
    """Say what makes this run's figures, or its repetition, worth less than they seem."""
    if job.inputs.nothing_held_out:
        yield events.Warned(
            "There is only one subject: nothing is held out, and the figures tell how well the "
            "model knows its own training data."
        )
    if differences := record_environment(job.run_dir, job.team):
        yield events.Warned(f"Not bit for bit the same run any more: {', '.join(differences)}.")
    if changed := Run(job.run_dir).changed_inputs():
        names = ", ".join(changed[:3]) + (" and others" if len(changed) > 3 else "")
        yield events.Warned(f"Changed or gone since the run started: {names}.")


def _refuse_taken(run_dir: Path) -> None:
    if run_dir.exists() and not run_dir.is_dir():
        msg = f"{run_dir} is a file; choose a folder for the run."
        raise MrgenError(msg)
    if runs.is_taken(run_dir):
        msg = f"{run_dir} already holds a run; resume it, or choose another folder."
        raise MrgenError(msg)
