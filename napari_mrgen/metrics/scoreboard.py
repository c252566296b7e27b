"""Scoreboard: metrics of a model and of baselines on held-out subjects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

WHOLE_SET = "held-out set"
"""Subject of a `Score` over all held-out subjects at once."""


@dataclass(frozen=True)
class Score:
    """Metrics of one method on one subject."""

    method: str
    subject: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """Mean and standard deviation over subjects of one method's metrics."""

    method: str
    subjects: int
    """Number of subjects; 0 for metrics of the whole set."""
    mean: Mapping[str, float]
    spread: Mapping[str, float]


@dataclass(frozen=True)
class Scoreboard:
    """Rows in the order in which the methods were first scored."""

    rows: tuple[Row, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for row in self.rows for name in row.mean))

    def row(self, method: str) -> Row:
        return next(row for row in self.rows if row.method == method)


def tabulate(scores: Iterable[Score]) -> Scoreboard:
    """Average over subjects; a metric that a subject lacks (NaN) is left out of its mean.

    Examples
    --------
    >>> scores = [Score("model", "a", {"PSNR": 20.0}), Score("model", "b", {"PSNR": 22.0})]
    >>> tabulate(scores).row("model").mean
    {'PSNR': 21.0}
    """
    by_method: dict[str, list[Score]] = {}
    for score in scores:
        by_method.setdefault(score.method, []).append(score)
    return Scoreboard(tuple(_row(method, group) for method, group in by_method.items()))


def _row(method: str, scores: list[Score]) -> Row:
    mean, spread = {}, {}
    for name in dict.fromkeys(name for score in scores for name in score.values):
        values = [v for s in scores if math.isfinite(v := s.values.get(name, math.nan))]
        if values:
            mean[name] = fmean(values)
            spread[name] = stdev(values) if len(values) > 1 else 0.0
    return Row(method, len({score.subject for score in scores} - {WHOLE_SET}), mean, spread)
