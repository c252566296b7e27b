"""From one contrast to another voxel by voxel: the trivial methods that a translation must beat.

All are told intensities of 0 to 1 and a mask of the same shape. They look at the voxels in the mask
alone and change nothing else: what lies around a brain stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

TABLE_BINS = 128
_RANKED = 1000
"""Quantiles by which histograms are matched."""


@dataclass(frozen=True)
class LookupTable:
    """The mean target value of each source value: of all such maps the one of least squared error.

    Source values of 0 to 1 fall into 128 bins of equal width; others into the first or last. A bin
    that training never saw takes its value from its neighbours.
    """

    values: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, pairs: Iterable[tuple[Image, Image, Mask]]) -> Self:
        """Learn from source, target and mask of each training pair; one at a time is held."""
        count, total = np.zeros((2, TABLE_BINS))
        for source, target, mask in pairs:
            bins = _bin(source[mask])
            count += np.bincount(bins, minlength=TABLE_BINS)
            total += np.bincount(bins, target[mask], minlength=TABLE_BINS)
        seen = np.flatnonzero(count)
        if not len(seen):
            raise ValueError("a lookup table needs at least one voxel in a mask, got none")
        return cls(np.interp(np.arange(TABLE_BINS), seen, total[seen] / count[seen]))

    def __call__(self, source: Image, mask: Mask) -> Image:
        return _within(mask, source, self.values[_bin(source[mask])])


@dataclass(frozen=True)
class HistogramMatch:
    """Gives an image the distribution of intensities that the training targets have."""

    quantiles: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, targets: Iterable[tuple[Image, Mask]]) -> Self:
        """Average the quantiles of the training targets, so that each counts alike."""
        found = [_quantiles(target[mask]) for target, mask in targets]
        if not found:
            raise ValueError("matching histograms needs at least one training target, got none")
        return cls(np.mean(found, axis=0))

    def __call__(self, source: Image, mask: Mask) -> Image:
        inside = source[mask]
        return _within(mask, source, np.interp(inside, _quantiles(inside), self.quantiles))


def _bin(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    return np.clip(values * TABLE_BINS, 0, TABLE_BINS - 1).astype(np.int64)


def _quantiles(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.asarray(np.quantile(values, np.linspace(0, 1, _RANKED)))


def _within(mask: Mask, source: Image, values: npt.NDArray[np.float64]) -> Image:
    changed = source.copy()
    changed[mask] = values
    return changed
