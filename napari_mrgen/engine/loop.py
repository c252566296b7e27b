"""The loop: one stage, step by step, on one process or many."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean

import torch
from torch import Tensor

from napari_mrgen.engine.context import StageState, TrainingContext
from napari_mrgen.engine.distributed import Action
from napari_mrgen.engine.failures import NotANumberError
from napari_mrgen.engine.run import events, pictures
from napari_mrgen.engine.run.events import Event, Stepped
from napari_mrgen.engine.run.state import save_state
from napari_mrgen.engine.task import Batch, Dataset, Draws
from napari_mrgen.io import nifti

LONG_PAUSE = 60.0
"""Seconds of pause after which the state is saved; a run of several processes ends then."""
_POLL = 0.2
_PREVIEWS_KEPT = 8


def train_stage(context: TrainingContext, state: StageState) -> Iterator[Event]:
    """Train from ``state.step`` on; ends early, saved, when a stop was requested.

    The caller sees by ``state.step`` whether the stage is complete.
    """
    stage, config = state.stage, context.config
    group, draws = context.group, context.draws(stage.name)
    batches = Batches(stage.dataset, draws, config.batch_size, group.rank, group.size)
    throughput = Throughput(stage.name, state.step, stage.steps)
    while not state.is_complete:
        if (yield from _await_action(context, state, throughput)) is Action.STOP:
            yield from _save(context, state, throughput)
            return
        _take_step(context, state, batches, throughput)
        began = time.monotonic()
        is_last = state.is_complete
        if context.group.is_first and (throughput.is_due(state.step) or is_last):
            yield throughput.read(state.step)
        if state.step % config.preview_every == 0 or is_last:
            if context.group.is_first:
                yield from _evaluate(context, state)
            if stage.early_stopping is not None:  # Only the first process has evaluated.
                is_over = stage.early_stopping.is_over(state.early_stopping)
                action = group.agree(Action.STOP if is_over else Action.CONTINUE)
                state.is_over = action is Action.STOP
        if state.step % config.save_every == 0 or state.is_complete:
            yield from _save(context, state, throughput)
        throughput.exclude(time.monotonic() - began)


def _take_step(
    context: TrainingContext, state: StageState, batches: Batches, throughput: Throughput
) -> None:
    stage, group = state.stage, context.group
    batch = _to_device(batches(state.step), group.device)
    draws = Draws((*context.draws(stage.name).key, "step", state.step, group.rank))
    losses = stage.task.step(batch, state.step, draws)
    for network in stage.task.networks.values():
        group.average(network.buffers())
    state.step += 1
    state.average.update(state.step)
    throughput.add(losses)


def _await_action(
    context: TrainingContext, state: StageState, throughput: Throughput
) -> Generator[Event, None, Action]:
    """Wait while the run is paused; return what all processes do next."""
    action = context.group.agree(context.requested_action())
    if action is not Action.PAUSE:
        return action
    began, is_saved = time.monotonic(), False
    place = (state.stage.name, state.step)
    if context.group.is_first:
        yield events.Paused(*place)
    while action is Action.PAUSE:
        context.control.wait(_POLL)
        action = context.group.agree(context.requested_action())
        if not is_saved and time.monotonic() - began > LONG_PAUSE:
            throughput.exclude(time.monotonic() - began)
            began, is_saved = time.monotonic(), True
            yield from _save(context, state, throughput)
            if context.group.size > 1:
                context.control.stop()  # Others may wait for these machines.
    throughput.exclude(time.monotonic() - began)
    if context.group.is_first and action is Action.CONTINUE:
        yield events.Resumed(*place)
    return action


def _save(context: TrainingContext, state: StageState, throughput: Throughput) -> Iterator[Event]:
    if not context.group.is_first or state.saved == state.step:
        return
    if throughput.has_losses:
        yield throughput.read(state.step)  # Raises before weights that are not numbers are saved.
    path = save_state(context.checkpoints, state)
    context.save_model(context.model_path(), state)
    state.saved = state.step
    yield events.Saved(state.stage.name, state.step, str(path.relative_to(context.run_dir)))


def _evaluate(context: TrainingContext, state: StageState) -> Iterator[Event]:
    """Evaluate and preview the averaged networks: no random state of the training is touched.

    The model of a stage with `EarlyStopping` is kept if there was no better one before.
    """
    stage, step, networks = state.stage, state.step, state.average.networks
    values: dict[str, list[float]] = {}
    with torch.no_grad():
        for batch in stage.dataset.held_out():
            metrics = stage.task.evaluate(networks, _to_device(batch, context.group.device))
            for name, value in metrics.items():
                values.setdefault(name, []).append(float(value))
    state.metrics = {name: fmean(each) for name, each in values.items()}
    if state.metrics:
        yield events.Evaluated(stage.name, step, state.metrics)
    if stage.early_stopping is not None:
        state.early_stopping = stage.early_stopping.update(
            state.early_stopping, step, state.metrics
        )
        if state.early_stopping.best_step == step:
            context.save_model(context.model_path("best"), state)
    draws = Draws((*context.draws(stage.name).key, "preview"))
    with torch.no_grad():
        volumes = stage.task.preview(networks, draws)
    folder = context.run_dir / "previews"
    paths = [
        folder / f"{state.index}-{stage.name}-{step:08d}-{number}.nii"
        for number in range(len(volumes))
    ]
    for volume, path in zip(volumes, paths, strict=True):
        nifti.write(volume, path)
        pictures.save_picture(volume, path.with_suffix(".png"))
    if paths:
        for old in sorted(folder.glob("*.nii"), reverse=True)[len(paths) * _PREVIEWS_KEPT :]:
            old.unlink(missing_ok=True)
            old.with_suffix(".json").unlink(missing_ok=True)
        names = tuple(volume.name for volume in volumes)
        windows = tuple(volume.window for volume in volumes)
        relative = tuple(str(path.relative_to(context.run_dir)) for path in paths)
        yield events.Previewed(stage.name, step, relative, names, windows)


def _to_device(batch: Batch, device: torch.device) -> Batch:
    return {key: tensor.to(device, non_blocking=True) for key, tensor in batch.items()}


_SHORTEST, _LONGEST = 0.2, 5.0
_EVENTS_PER_STAGE = 500


class Throughput:
    """Collects the losses of steps; reading them, which waits for a GPU, is done when due.

    Events come up to five times a second at first, and more seldom in long stages. They depend on
    the clock, training does not depend on them.
    """

    def __init__(self, stage: str, step: int, steps: int) -> None:
        self._stage, self._steps = stage, steps
        self._first = step
        self._began = self._since = time.monotonic()
        self._losses: dict[str, list[Tensor]] = {}
        self._excluded = 0.0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        for name, loss in losses.items():
            self._losses.setdefault(name, []).append(loss.detach())

    def is_due(self, step: int) -> bool:
        now = time.monotonic()
        pause = (now - self._began) / _EVENTS_PER_STAGE
        return step == self._steps or now - self._since > min(max(_SHORTEST, pause), _LONGEST)

    def exclude(self, seconds: float) -> None:
        """Do not count time that was not training: pauses, previews, saving."""
        self._excluded += seconds

    def read(self, step: int) -> Stepped:
        """Return the means since the last reading; raise if they are not numbers."""
        now = time.monotonic()
        means = {name: float(torch.stack(v).float().mean()) for name, v in self._losses.items()}
        for name, value in means.items():
            if not math.isfinite(value):
                msg = f"The loss {name!r} is no longer a number at step {step} of {self._stage!r}."
                raise NotANumberError(msg)
        pace = (now - self._began - self._excluded) / max(1, step - self._first)
        self._losses, self._since = {}, now
        return Stepped(self._stage, step, self._steps, means, pace, pace * (self._steps - step))

    @property
    def has_losses(self) -> bool:
        return bool(self._losses)


@dataclass
class Batches:
    """The batch of every step.

    Epochs follow one another without a gap: an endless row of permutations, cut into batches. So no
    sample is dropped, no batch is short, and data sets smaller than a batch work.

    Parameters
    ----------
    draws
        Of this run and stage.
    size
        Samples in a step, over all processes.
    rank, processes
        Process ``rank`` takes every ``processes``-th sample.
    """

    dataset: Dataset
    draws: Draws
    size: int
    rank: int = 0
    processes: int = 1
    _epoch: int = field(default=-1, init=False)
    _order: list[int] = field(default_factory=list, init=False)

    def __call__(self, step: int) -> Batch:
        start = step * self.size
        places = range(start + self.rank, start + self.size, self.processes)
        samples = [self._sample(place) for place in places]
        return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

    def _sample(self, place: int) -> Batch:
        epoch, position = divmod(place, len(self.dataset))
        if epoch != self._epoch:
            generator = self.draws("order", epoch)
            self._order = torch.randperm(len(self.dataset), generator=generator).tolist()
            self._epoch = epoch
        index = self._order[position]
        return self.dataset.sample(index, self.draws("sample", epoch, index))
