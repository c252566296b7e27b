"""The loop: one stage, step by step, on one process or many."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from statistics import fmean

import torch

from napari_mrgen.engine.batches import Batches
from napari_mrgen.engine.distributed import Wish
from napari_mrgen.engine.job import Job, Trainee
from napari_mrgen.engine.meter import Meter
from napari_mrgen.engine.run import events, pictures
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.state import save_state
from napari_mrgen.engine.task import Batch, Draws
from napari_mrgen.io import nifti

LONG_PAUSE = 60.0
"""Seconds of pause after which the state is saved; a run of several processes ends then."""
_BEAT = 0.2
_PREVIEWS_KEPT = 8


def train_stage(job: Job, trainee: Trainee) -> Iterator[Event]:
    """Train from ``trainee.step`` on; ends early, saved, when a stop was asked for.

    The caller sees by ``trainee.step`` whether the stage is complete.
    """
    stage, config = trainee.stage, job.config
    batches = Batches(
        stage.dataset, job.draws(stage.name), config.batch_size, job.team.rank, job.team.size
    )
    meter = Meter(stage.name, trainee.step, stage.steps)
    while not trainee.is_complete:
        if (yield from _obey(job, trainee, meter)) is Wish.STOP:
            yield from _save(job, trainee, meter)
            return
        _take_step(job, trainee, batches, meter)
        began = time.monotonic()
        is_last = trainee.is_complete
        if job.team.is_first and (meter.is_due(trainee.step) or is_last):
            yield meter.read(trainee.step)
        if trainee.step % config.preview_every == 0 or is_last:
            if job.team.is_first:
                yield from _look(job, trainee)
            _lose_patience(job, trainee)
        if trainee.step % config.save_every == 0 or trainee.is_complete:
            yield from _save(job, trainee, meter)
        meter.leave_out(time.monotonic() - began)


def _take_step(job: Job, trainee: Trainee, batches: Batches, meter: Meter) -> None:
    stage, team = trainee.stage, job.team
    batch = _to_device(batches(trainee.step), team.device)
    draws = Draws((*job.draws(stage.name).key, "step", trainee.step, team.rank))
    losses = stage.task.step(batch, trainee.step, draws)
    for network in stage.task.networks.values():
        team.average(network.buffers())
    trainee.step += 1
    trainee.average.update(trainee.step)
    meter.add(losses)


def _lose_patience(job: Job, trainee: Trainee) -> None:
    """End the stage where its patience is at an end; only the first process has evaluated."""
    patience = trainee.stage.patience
    if patience is not None:
        is_over = patience.is_over(trainee.standing)
        trainee.is_over = job.team.agree(Wish.STOP if is_over else Wish.GO) is Wish.STOP


def _obey(job: Job, trainee: Trainee, meter: Meter) -> Generator[Event, None, Wish]:
    """Wait while the run is paused; return what all processes do then."""
    wish = job.team.agree(job.wish())
    if wish is not Wish.PAUSE:
        return wish
    began, is_saved = time.monotonic(), False
    place = (trainee.stage.name, trainee.step)
    if job.team.is_first:
        yield events.Paused(*place)
    while wish is Wish.PAUSE:
        job.control.wait(_BEAT)
        wish = job.team.agree(job.wish())
        if not is_saved and time.monotonic() - began > LONG_PAUSE:
            meter.leave_out(time.monotonic() - began)
            began, is_saved = time.monotonic(), True
            yield from _save(job, trainee, meter)
            if job.team.size > 1:
                job.control.stop()  # Elsewhere others wait for these machines.
    meter.leave_out(time.monotonic() - began)
    if job.team.is_first and wish is Wish.GO:
        yield events.Resumed(*place)
    return wish


def _save(job: Job, trainee: Trainee, meter: Meter) -> Iterator[Event]:
    if not job.team.is_first or trainee.saved == trainee.step:
        return
    if meter.has_losses:
        yield meter.read(trainee.step)  # What is not a number is not saved.
    path = save_state(job.checkpoints, trainee)
    job.save_model(job.model_path, trainee)
    trainee.saved = trainee.step
    yield events.Saved(trainee.stage.name, trainee.step, str(path.relative_to(job.run_dir)))


@torch.no_grad()
def _measure(job: Job, trainee: Trainee) -> dict[str, float]:
    """Mean metrics of the averaged networks over the held-out batches."""
    found: dict[str, list[float]] = {}
    for batch in trainee.stage.dataset.held_out():
        on_device = _to_device(batch, job.team.device)
        metrics = trainee.stage.task.evaluate(trainee.average.networks, on_device)
        for name, value in metrics.items():
            found.setdefault(name, []).append(float(value))
    return {name: fmean(values) for name, values in found.items()}


def _look(job: Job, trainee: Trainee) -> Iterator[Event]:
    """Evaluate and preview the averaged networks: no random state of the training is touched."""
    stage, step = trainee.stage, trainee.step
    trainee.metrics = _measure(job, trainee)
    if trainee.metrics:
        yield events.Evaluated(stage.name, step, trainee.metrics)
    _judge(job, trainee)
    draws = Draws((*job.draws(stage.name).key, "preview"))
    with torch.no_grad():
        volumes = stage.task.preview(trainee.average.networks, draws)
    paths: list[str] = []
    for number, volume in enumerate(volumes):
        path = job.run_dir / "previews" / f"{trainee.index}-{stage.name}-{step:08d}-{number}.nii"
        nifti.write(volume, path)
        pictures.keep(volume, path.with_suffix(".png"))
        paths.append(str(path.relative_to(job.run_dir)))
    if paths:
        _thin_out(job.run_dir / "previews", len(paths) * _PREVIEWS_KEPT)
        names = tuple(volume.name for volume in volumes)
        windows = tuple(volume.covariates.get("window") for volume in volumes)
        yield events.Previewed(stage.name, step, tuple(paths), names, windows)


def _judge(job: Job, trainee: Trainee) -> None:
    """Keep the model of a stage with `Patience` if there was no better one before."""
    patience, step = trainee.stage.patience, trainee.step
    if patience is None:
        return
    trainee.standing = patience.judge(trainee.standing, step, trainee.metrics)
    if trainee.standing.best_step == step:
        job.save_model(job.best_path, trainee)


def _thin_out(folder: Path, kept: int) -> None:
    for old in sorted(folder.glob("*.nii"), reverse=True)[kept:]:
        old.unlink(missing_ok=True)
        old.with_suffix(".json").unlink(missing_ok=True)


def _to_device(batch: Batch, device: torch.device) -> Batch:
    return {key: tensor.to(device, non_blocking=True) for key, tensor in batch.items()}
