"""Sets of images, and the distance of their distributions in a feature space.

Slices of one brain are similar. If they counted as independent, two sets of real slices of
different subjects would seem to differ, and neighbourhoods would reach no further than the next
slice of the same brain. All statistics here are therefore over pairs of different subjects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

NEIGHBOURS = 5
_RESAMPLES, _CONFIDENCE = 1000, 0.95


@dataclass(frozen=True)
class ImageSet:
    """Images ``(n, y, x)``, 0 to 1, with the subject and the level of each where known.

    Real slices, and images computed from them (reconstructions, blurred slices), have ``subjects``:
    a slice is never compared with one of its own subject. ``levels``, ``(n,)`` from 0 to 1, are
    positions within the brain.
    """

    images: Tensor
    subjects: tuple[str, ...] = ()
    levels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Sequence[int] | Tensor) -> ImageSet:
        chosen = torch.as_tensor(indices, dtype=torch.long)
        subjects = tuple(self.subjects[i] for i in chosen.tolist()) if self.subjects else ()
        levels = None if self.levels is None else self.levels[chosen]
        return ImageSet(self.images[chosen], subjects, levels)

    def thin(self, most: int) -> ImageSet:
        """Return at most ``most`` images, evenly spread over the set."""
        if len(self) <= most:
            return self
        return self.take(torch.arange(most) * len(self) // most)


@dataclass(frozen=True)
class Sets:
    """Generated sets by method, and the real slices that they are compared with."""

    generated: Mapping[str, ImageSet]
    """The model comes first."""
    held_out: ImageSet
    train: ImageSet | None = None


class WithSubjects(Protocol):
    """Items with one subject each, or without any."""

    @property
    def subjects(self) -> tuple[str, ...]: ...
    def __len__(self) -> int: ...


def comparable_pairs(a: WithSubjects, b: WithSubjects) -> Tensor:
    """Return which pairs ``(n, m)`` are comparable: of different subjects, none with itself."""
    if a.subjects and b.subjects:
        numbers = {name: number for number, name in enumerate({*a.subjects, *b.subjects})}
        left, right = (torch.tensor([numbers[name] for name in s.subjects]) for s in (a, b))
        return left[:, None] != right
    pairs = torch.ones(len(a), len(b), dtype=torch.bool)
    return pairs.fill_diagonal_(False) if a is b else pairs


@dataclass(frozen=True)
class Points:
    """Images as points ``(n, d)`` of a feature space; see `ImageSet` for the subjects."""

    values: Tensor
    subjects: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)


# ---- kernel distance ----------------------------------------------------------------------------


def kid(a: Points, b: Points) -> float:
    """Return the squared maximum mean discrepancy with kernel ``(x y / d + 1)^3``, unbiased.

    It is about 0, sometimes below, for two sets of one distribution, and NaN if a set has only one
    subject.

    References
    ----------
    Binkowski et al., Demystifying MMD GANs, ICLR 2018.
    """
    return _Discrepancy.of(a, b).estimate()


def kid_interval(a: Points, b: Points, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % confidence interval of `kid` by a bootstrap over subjects.

    Images without subjects are resampled one by one. Subjects of both sets are resampled together.
    """
    return _Discrepancy.of(a, b).interval(torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class _Sums:
    """Kernel values and counts of the comparable pairs, summed by pairs of subjects."""

    kernel: Tensor
    counts: Tensor

    @classmethod
    def of(cls, a: Points, b: Points) -> _Sums:
        counted = comparable_pairs(a, b).double()
        x, y = a.values.double(), b.values.double()
        kernel = (x @ y.T / x.shape[1] + 1) ** 3
        return cls(_by_subject(kernel * counted, a, b), _by_subject(counted, a, b))

    def mean(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the mean with weights ``(resamples, subjects)`` on either side."""
        kernel, counts = ((m * right).sum(1) for m in (left @ self.kernel, left @ self.counts))
        return kernel / counts


@dataclass(frozen=True)
class _Discrepancy:
    aa: _Sums
    bb: _Sums
    ab: _Sums
    is_paired: bool
    """Whether both sets are of the same subjects."""

    @classmethod
    def of(cls, a: Points, b: Points) -> _Discrepancy:
        names = [dict.fromkeys(points.subjects) for points in (a, b)]
        is_paired = bool(names[0]) and list(names[0]) == list(names[1])
        return cls(_Sums.of(a, a), _Sums.of(b, b), _Sums.of(a, b), is_paired)

    def estimate(self) -> float:
        left, right = (torch.ones(1, len(s.kernel), dtype=torch.double) for s in (self.aa, self.bb))
        return float(self._weighted(left, right))

    def interval(self, generator: torch.Generator) -> tuple[float, float]:
        right = _resampled(len(self.bb.kernel), generator)
        left = right if self.is_paired else _resampled(len(self.aa.kernel), generator)
        estimates = self._weighted(left, right)
        rest = (1 - _CONFIDENCE) / 2
        limits = torch.tensor([rest, 1 - rest], dtype=torch.double)
        low, high = estimates.nanquantile(limits).tolist()
        return low, high

    def _weighted(self, left: Tensor, right: Tensor) -> Tensor:
        within = self.aa.mean(left, left) + self.bb.mean(right, right)
        return within - 2 * self.ab.mean(left, right)


def _by_subject(pairs: Tensor, a: Points, b: Points) -> Tensor:
    """Sum ``(n, m)`` over the images of each subject."""
    for axis, points in enumerate((a, b)):
        if points.subjects:
            numbers = {name: number for number, name in enumerate(dict.fromkeys(points.subjects))}
            index = torch.tensor([numbers[name] for name in points.subjects])
            shape = [*pairs.shape]
            shape[axis] = len(numbers)
            pairs = pairs.new_zeros(shape).index_add_(axis, index, pairs)
    return pairs


def _resampled(count: int, generator: torch.Generator) -> Tensor:
    """Return how often each of ``count`` items is drawn, ``(resamples, count)``."""
    chosen = torch.randint(0, count, (_RESAMPLES, count), generator=generator)
    times = torch.zeros(_RESAMPLES, count, dtype=torch.double)
    return times.scatter_add_(1, chosen, torch.ones_like(times))


# ---- Gaussian distance --------------------------------------------------------------------------


def frechet(a: Tensor, b: Tensor) -> float:
    """Return the Fréchet distance of the Gaussians fitted to two sets of points ``(n, d)``.

    It is biased upwards if there are few points: use few dimensions, and compare with the distance
    of two real sets of the same sizes. NaN for a single point.

    References
    ----------
    Heusel et al., GANs trained by a two time-scale update rule, NeurIPS 2017.
    """
    if min(len(a), len(b)) < 2:
        return float("nan")
    (mean_a, cov_a), (mean_b, cov_b) = (_gaussian(points.double()) for points in (a, b))
    root = _root(cov_a)
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return float((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross)


def _gaussian(points: Tensor) -> tuple[Tensor, Tensor]:
    centred = points - points.mean(0)
    return points.mean(0), centred.T @ centred / (len(points) - 1)


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


# ---- neighbourhoods -----------------------------------------------------------------------------


def precision(generated: Points, real: Points, k: int = NEIGHBOURS) -> float:
    """Return the share of generated points within the neighbourhood of a real point.

    A neighbourhood reaches to the ``k``-th nearest real point of another subject; NaN if there are
    fewer.

    References
    ----------
    Kynkäänniemi et al., Improved precision and recall metric, NeurIPS 2019.
    """
    return float(_inside(generated, real, k).amax(1).mean())


def recall(generated: Points, real: Points, k: int = NEIGHBOURS) -> float:
    """Return the share of real points within the neighbourhood of a generated one."""
    return precision(real, generated, k)


def density(generated: Points, real: Points, k: int = NEIGHBOURS) -> float:
    """Return the mean number of real neighbourhoods, over ``k``, around a generated point.

    Unlike precision it is robust to real outliers. It can exceed 1.

    References
    ----------
    Naeem et al., Reliable fidelity and diversity metrics for generative models, ICML 2020.
    """
    return float(_inside(generated, real, k).sum(1).mean() / k)


def coverage(generated: Points, real: Points, k: int = NEIGHBOURS) -> float:
    """Return the share of real neighbourhoods with a generated point; see `density`."""
    return float(_inside(generated, real, k).amax(0).mean())


def _inside(points: Points, centres: Points, k: int) -> Tensor:
    """Return which points lie in which neighbourhoods, ``(points, centres)``: 1, 0 or NaN."""
    distances = _distances(centres, centres)
    if len(centres) < k:
        return distances.new_full((len(points), len(centres)), float("nan"))
    radii = distances.kthvalue(k, dim=1).values
    inside = (_distances(points, centres) <= radii).float()
    return inside.masked_fill(radii.isinf(), float("nan"))


def _distances(a: Points, b: Points) -> Tensor:
    """Return Euclidean distances ``(n, m)``, infinite between pairs that may not be compared."""
    return torch.cdist(a.values, b.values).masked_fill(~comparable_pairs(a, b), torch.inf)
