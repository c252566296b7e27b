"""Stage, Task and Dataset: what a family hands to the engine for training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from napari_mrgen.engine.patience import Patience
from napari_mrgen.volume import Volume

Batch = Mapping[str, Tensor]
Networks = Mapping[str, nn.Module]


@dataclass(frozen=True)
class Draws:
    """Random generators that follow from the run's seed and the place in the run alone.

    No code draws from a global generator: another thread's draws would change the result, and a
    resumed run could not go on exactly. Resuming needs only the step.
    """

    key: tuple[int | str, ...]

    def __call__(self, *name: int | str, device: torch.device | str = "cpu") -> torch.Generator:
        text = "/".join(map(str, (*self.key, *name)))
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        return torch.Generator(device).manual_seed(seed)


class Dataset(Protocol):
    """Samples of the training subjects, and batches of the held-out ones."""

    def __len__(self) -> int:
        """Training samples in an epoch."""
        ...

    def sample(self, index: int, generator: torch.Generator) -> Batch:
        """Return one training sample (no batch axis), augmented with draws from ``generator``."""
        ...

    def held_out(self) -> Iterator[Batch]:
        """Yield a few small, fixed batches of the held-out subjects, for curves while training."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """What goes into the model file: scaling, axes, voxel size of the training data."""
        ...


@dataclass
class Task:
    """The networks of a stage with their optimizers, and how they learn.

    The engine brings ``networks`` to the device, lets their ``forward`` run in the precision of the
    run (what they return is float32), and calls `step` again and again. A learning rate schedule is
    a function of the step, set by the task itself, so there is no scheduler state. ``shipped``
    names the networks that the model file holds and that are averaged; when a stage is complete
    they get their averages, and only they may be taken over by a later stage.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    shipped: tuple[str, ...]
    clip_norm: float | None = 1.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    average_gradients: Callable[[Sequence[nn.Parameter]], None] = field(
        default=lambda parameters: None, repr=False
    )
    """Set by the engine: where several processes train, each has seen its part of the batch."""
    together: Callable[..., Tensor] = field(
        default=lambda function, *parts: function(*parts), repr=False
    )
    """Set by the engine: call a function with tensors of the whole batch; each process has parts of
    them, calls it too, and gets its part of the result. What the function keeps is then the same in
    all, as it must be, since only the first one is saved."""

    @property
    def is_done(self) -> bool:
        """Whether the stage ends after this step, before its length: asked after every step.

        All processes must say the same, and a resumed run too: it follows from networks or buffers.
        """
        return False

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        """Do all updates of one training step; return the losses by name (detached scalars)."""
        raise NotImplementedError

    def update(self, optimizer: str, loss: Tensor) -> None:
        """Back-propagate ``loss`` and take one optimizer step, with clipped gradients."""
        chosen = self.optimizers[optimizer]
        chosen.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [p for group in chosen.param_groups for p in group["params"]]
        self.average_gradients(parameters)
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        chosen.step()

    def set_learning_rate(self, optimizer: str, rate: float) -> None:
        for group in self.optimizers[optimizer].param_groups:
            group["lr"] = rate

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        """Metrics of one held-out batch; ``networks`` are the averaged ones."""
        raise NotImplementedError

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Small volumes that show how far training is, with the geometry of their source."""
        raise NotImplementedError

    def finish(self, networks: Networks, folder: Path) -> None:
        """Write what a finished stage leaves beside its model; nothing by default."""


@dataclass(frozen=True)
class Stage:
    """One part of a training: a name, how many steps, on what data, learning how."""

    name: str
    title: str
    steps: int
    dataset: Dataset
    task: Task
    patience: Patience | None = None
    """If given, the best model of the stage is the one that it ends with, and it may end early."""
