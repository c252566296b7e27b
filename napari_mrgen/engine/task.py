"""Stage, Task, Dataset and early stopping: what a family hands to the engine for training."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from napari_mrgen.errors import unknown
from napari_mrgen.volume import Volume

Batch = Mapping[str, Tensor]
Networks = Mapping[str, nn.Module]


@dataclass(frozen=True)
class Draws:
    """Random generators that follow from the run's seed and the place in the run alone.

    No code draws from a global generator: another thread's draws would change the result, and a
    resumed run could not go on exactly. Resuming needs only the step.

    Examples
    --------
    >>> draws = Draws((7, "gan", "step", 12))
    >>> one, two = (torch.rand(1, generator=draws("noise")) for _ in range(2))
    >>> bool(one == two), bool(one == torch.rand(1, generator=draws("dropout")))
    (True, False)
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


@contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """Let gradients flow through a network, such as a discriminator, but not into its weights."""
    network.requires_grad_(False)
    try:
        yield network
    finally:
        network.requires_grad_(True)


@dataclass(frozen=True)
class EarlyStoppingState:
    """How the evaluations of a stage went so far: a part of its training state."""

    best: float | None = None
    """Best value of the metric."""
    best_step: int | None = None
    reference: float | None = None
    """Last value that was better than the one before it by more than ``min_delta``."""
    waited: int = 0
    """Evaluations since then."""


@dataclass(frozen=True)
class EarlyStopping:
    """Early stopping [1]_: the best model is kept, whatever comes after it.

    References
    ----------
    .. [1] L. Prechelt, Early stopping, but when? Neural Networks: Tricks of the Trade (1998).

    Examples
    --------
    >>> early_stopping, state = EarlyStopping("loss", patience=2), EarlyStoppingState()
    >>> for step, loss in enumerate([0.5, 0.3, 0.4, 0.35]):
    ...     state = early_stopping.update(state, step, {"loss": loss})
    >>> state.best, state.best_step, early_stopping.is_over(state)
    (0.3, 1, True)
    """

    metric: str
    """One of those that the stage's task evaluates."""
    patience: int = 0
    """Evaluations without an improvement after which the stage ends; 0: it never does."""
    min_delta: float = 0.0
    """A smaller change is not an improvement; its value may still be the best."""
    mode: Literal["min", "max"] = "min"

    def update(
        self, state: EarlyStoppingState, step: int, metrics: Mapping[str, float]
    ) -> EarlyStoppingState:
        """Return the state after an evaluation; one without any metric changes nothing.

        Raises
        ------
        MrgenError
            If there are metrics, but not this one.
        """
        if not metrics:
            return state
        if self.metric not in metrics:
            raise unknown("metric", self.metric, metrics)
        value = metrics[self.metric]
        if self._gain(value, state.best) > 0:
            state = replace(state, best=value, best_step=step)
        if self._gain(value, state.reference) > self.min_delta:
            return replace(state, reference=value, waited=0)
        return replace(state, waited=state.waited + 1)

    def is_over(self, state: EarlyStoppingState) -> bool:
        return 0 < self.patience <= state.waited

    def _gain(self, value: float, before: float | None) -> float:
        """Return by how much a value is better; NaN where it is NaN itself."""
        if before is None:
            return value if math.isnan(value) else math.inf
        return before - value if self.mode == "min" else value - before


@dataclass(frozen=True)
class Stage:
    """One part of a training: a name, how many steps, on what data, learning how."""

    name: str
    title: str
    steps: int
    dataset: Dataset
    task: Task
    early_stopping: EarlyStopping | None = None
    """If given, the best model of the stage is the one that it ends with, and it may end early."""
