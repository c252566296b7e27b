"""Patience: by which figure the best model of a stage is known, and when the stage gives up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from napari_mrgen.errors import unknown


@dataclass(frozen=True)
class Standing:
    """How the evaluations of a stage went so far: a part of its training state."""

    best: float | None = None
    """The best figure of all."""
    best_step: int | None = None
    reference: float | None = None
    """The last figure that was better than the one before it by more than ``min_delta``."""
    waited: int = 0
    """Evaluations since then."""


@dataclass(frozen=True)
class Patience:
    """Early stopping [1]_: the best model is kept, whatever comes after it.

    References
    ----------
    .. [1] L. Prechelt, Early stopping, but when? Neural Networks: Tricks of the Trade (1998).
    """

    metric: str
    """One of those that the stage's task evaluates."""
    patience: int = 0
    """Evaluations without an improvement after which the stage ends; 0: it never does."""
    min_delta: float = 0.0
    """What is better by no more than this is no improvement; it may still be the best."""
    mode: Literal["min", "max"] = "min"

    def judge(self, standing: Standing, step: int, metrics: Mapping[str, float]) -> Standing:
        """Return the standing after an evaluation; one without any figure changes nothing.

        Raises
        ------
        MrgenError
            If there are figures, but not this one.
        """
        if not metrics:
            return standing
        if self.metric not in metrics:
            raise unknown("metric", self.metric, metrics)
        value = metrics[self.metric]
        if self._gain(value, standing.best) > 0:
            standing = replace(standing, best=value, best_step=step)
        if self._gain(value, standing.reference) > self.min_delta:
            return replace(standing, reference=value, waited=0)
        return replace(standing, waited=standing.waited + 1)

    def is_over(self, standing: Standing) -> bool:
        return 0 < self.patience <= standing.waited

    def _gain(self, value: float, before: float | None) -> float:
        """Return by how much a figure is better; not a number where it is none itself."""
        if before is None:
            return value if math.isnan(value) else math.inf
        return before - value if self.mode == "min" else value - before
