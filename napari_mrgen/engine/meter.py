"""Meter: mean losses and time left, now and then."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from napari_mrgen.engine.failures import NotANumberError
from napari_mrgen.engine.run.events import Stepped

_SHORTEST, _LONGEST = 0.2, 5.0
_TOLD_PER_STAGE = 500


class Meter:
    """Collects the losses of steps; reading them, which waits for a GPU, is done when due.

    Events come up to five times a second at first, and more seldom in long stages. They depend on
    the clock, training does not depend on them.
    """

    def __init__(self, stage: str, step: int, steps: int) -> None:
        self._stage, self._steps = stage, steps
        self._first = self._told = step
        self._began = self._since = time.monotonic()
        self._losses: dict[str, list[Tensor]] = {}
        self._waited = 0.0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        for name, loss in losses.items():
            self._losses.setdefault(name, []).append(loss.detach())

    def is_due(self, step: int) -> bool:
        now = time.monotonic()
        pause = (now - self._began) / _TOLD_PER_STAGE
        return step == self._steps or now - self._since > min(max(_SHORTEST, pause), _LONGEST)

    def leave_out(self, seconds: float) -> None:
        """Do not count time that was not training: pauses, previews, saving."""
        self._waited += seconds

    def read(self, step: int) -> Stepped:
        """Return the means since the last reading; raise if they are not numbers."""
        now = time.monotonic()
        means = {name: float(torch.stack(v).float().mean()) for name, v in self._losses.items()}
        for name, value in means.items():
            if not math.isfinite(value):
                msg = f"The loss {name!r} is no longer a number at step {step} of {self._stage!r}."
                raise NotANumberError(msg)
        pace = (now - self._began - self._waited) / max(1, step - self._first)
        self._losses, self._told, self._since = {}, step, now
        left = pace * (self._steps - step)
        return Stepped(self._stage, step, self._steps, means, pace, left)

    @property
    def has_losses(self) -> bool:
        return bool(self._losses)
