"""Train a family from start to end, or go on with a run: both are generators of events."""

from __future__ import annotations

import gc
import json
import platform
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.context import TrainingContext
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.device import (
    choose_device,
    device_info,
    release_memory,
    set_malloc_threshold,
)
from napari_mrgen.engine.distributed import ProcessGroup
from napari_mrgen.engine.failures import explain, is_out_of_memory
from napari_mrgen.engine.family import Family, TrainConfig
from napari_mrgen.engine.memory.stepdown import NOTHING_HELPS, announce, find_smaller, step_down
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run import folder as runs
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.folder import Lookup, Run, RunOptions
from napari_mrgen.engine.run.journal import Journal
from napari_mrgen.engine.run.lock import locked
from napari_mrgen.engine.stages import train
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.files import remove_drafts

_PACKAGES = ("napari-mrgen", "torch", "lightning-fabric", "numpy")


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

    def begin(stack: ExitStack) -> TrainingContext:
        group = ProcessGroup(choose_device(device), precision)
        group.check_batch(config.batch_size)
        start = str(start_from.resolve()) if start_from else None
        options = RunOptions(family.name, group.precision, only_stage, start)
        if group.is_first:
            _refuse_taken(run_dir)
            run_dir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(run_dir))
            runs.create(run_dir, options, config, inputs)
        return TrainingContext(family, config, inputs, run_dir, options, group, control)

    yield from _recorded(begin, lambda context: _train(context, resumed=False))


def resume(
    run_dir: Path, lookup: Lookup, control: Control, *, device: str = "auto"
) -> Iterator[Event]:
    """Go on with a run that was stopped, failed or was killed, bit for bit.

    A finished run yields `Finished` again. ``lookup`` finds a family by its name.
    """

    def begin(stack: ExitStack) -> TrainingContext:
        run = Run(run_dir)
        options = run.options
        family = lookup(options.family)
        config = run.config(family)
        group = ProcessGroup(choose_device(device), options.precision)
        group.check_batch(config.batch_size)
        if group.is_first:
            stack.enter_context(locked(run_dir))
            runs.make_folders(run_dir)
        return TrainingContext(family, config, run.inputs, run_dir, options, group, control)

    yield from _recorded(begin, lambda context: _train(context, resumed=True))


def _recorded(
    begin: Callable[[ExitStack], TrainingContext],
    work: Callable[[TrainingContext], Iterator[Event]],
) -> Iterator[Event]:
    """Yield and record the events of a run; its last one comes when the folder is free again.

    Nothing is raised: napari's generator workers swallow a `RuntimeError`.
    """
    last: Event | None = None
    with ExitStack() as stack:
        context: TrainingContext | None = None
        journal: Journal | None = None
        try:
            context = begin(stack)
            journal = (
                stack.enter_context(Journal(context.run_dir)) if context.group.is_first else None
            )
            for event in _with_less_memory(context, work):
                if journal is not None:
                    journal.record(event)
                if isinstance(event, runs.ENDS):
                    last = event
                    break
                yield event
        except Exception as error:  # noqa: BLE001 - reported with its traceback, not raised
            last = explain(
                error,
                context.config if context else None,
                context.group.device if context else None,
            )
            if journal is not None:
                with suppress(OSError):  # The disk may be what failed.
                    journal.record(last)
            if context is not None:
                context.group.leave()
        finally:
            context = None
    if isinstance(last, events.Failed):
        gc.collect()  # What the exception held, a GPU's memory among it, is free for a next try.
    if last is not None:
        yield last


def _with_less_memory(
    context: TrainingContext, work: Callable[[TrainingContext], Iterator[Event]]
) -> Iterator[Event]:
    """Yield the events of the work; where memory runs out, go on with settings that need less."""
    set_malloc_threshold(device_info(torch.device("cpu")).free_bytes)
    while True:
        try:
            yield from work(context)
        except Exception as error:
            # Several processes would have to agree on it, and one of them is stuck.
            if not is_out_of_memory(error) or context.group.size > 1:
                raise
            failure = error
        else:
            return
        traceback.clear_frames(failure.__traceback__)
        release_memory()
        advice = find_smaller(context)
        if advice is None:
            # Explained here: a run that stepped down has other settings than it began with.
            yield replace(
                explain(failure, context.config, context.group.device), advice=NOTHING_HELPS
            )
            return
        yield events.Warned(announce(context, advice))
        del failure
        context = step_down(context, advice)
        work = partial(_train, resumed=True)


def _train(context: TrainingContext, *, resumed: bool) -> Iterator[Event]:
    title = device_info(context.group.device).title
    stages = (context.options.only_stage,) if context.options.only_stage else context.config.stages
    yield events.Started(str(context.run_dir), context.family.name, title, stages, resumed)
    if not context.group.is_first:
        yield from train(context)
        return
    finished = [e for e in Run(context.run_dir).history if isinstance(e, events.Finished)]
    if finished:
        yield replace(finished[-1], model=str(context.model_path()))
        return
    remove_drafts(context.run_dir, ("checkpoints", "previews", "movies", "figures", "predictions"))
    yield from _warnings(context)
    yield from train(context)


def _warnings(context: TrainingContext) -> Iterator[Event]:
    """Warn of scans left out, metrics that mean less than they seem, and a changed environment."""
    yield from map(events.Warned, context.inputs.notes)
    if context.inputs.nothing_held_out:
        yield events.Warned(
            "There is only one subject: nothing is held out, and the metrics are those of the "
            "training data."
        )
    if differences := _record_environment(context):
        yield events.Warned(f"Not bit for bit the same run any more: {', '.join(differences)}.")
    if changed := Run(context.run_dir).changed_inputs():
        names = ", ".join(changed[:3]) + (" and others" if len(changed) > 3 else "")
        yield events.Warned(f"Changed or gone since the run started: {names}.")


def _refuse_taken(run_dir: Path) -> None:
    if run_dir.exists() and not run_dir.is_dir():
        msg = f"{run_dir} is a file; choose a folder for the run."
        raise MrgenError(msg)
    if runs.is_taken(run_dir):
        msg = f"{run_dir} already holds a run; resume it, or choose another folder."
        raise MrgenError(msg)


def _sessions(path: Path) -> list[dict[str, Any]]:
    """Return what earlier sessions trained with; a record that is damaged stops nothing."""
    try:
        sessions = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    is_whole = isinstance(sessions, list) and all(isinstance(one, dict) for one in sessions)
    return sessions if is_whole else []


def _record_environment(context: TrainingContext) -> list[str]:
    """Note what this session trains with; name what differs from the session before.

    A resumed run is the same bit for bit only with the same.
    """
    versions = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):  # Run from a checkout that is not installed.
            versions[package] = version(package)
    group = context.group
    now = {
        "machine": platform.node(),
        "platform": platform.platform(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "device": device_info(group.device).title,
        "device_name": str(group.device),
        "precision": group.precision,
        "processes": group.size,
        "threads": torch.get_num_threads(),
        "python": sys.version.split()[0],
        **{package: versions.get(package, "unknown") for package in _PACKAGES},
    }
    path = context.run_dir / runs.ENVIRONMENT
    sessions = _sessions(path)
    runs.write_json(path, [*sessions, now])
    if not sessions:
        return []
    before = sessions[-1]
    changed = {name: value for name, value in now.items() if before.get(name) != value}
    return [f"{name} {before.get(name)} -> {value}" for name, value in changed.items()]
