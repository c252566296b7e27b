"""How far apart two sets lie in a feature space, and how much of one the other covers.

Slices of one brain are much alike. Were they taken for independent, two sets of real slices of
different people would seem to differ, and neighbourhoods would reach no further than the next slice
of the same brain. So all that is counted here is counted over pairs of different subjects.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_mrgen.metrics.image_set import strangers

NEIGHBOURS = 5
_DRAWS, _CONFIDENCE = 1000, 0.95


@dataclass(frozen=True)
class Points:
    """Images as points ``(n, d)`` of a feature space; see `ImageSet` for the subjects."""

    values: Tensor
    subjects: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)


# ---- kernel distance ----------------------------------------------------------------------------


def kid(a: Points, b: Points) -> float:
    """Squared maximum mean discrepancy with the kernel ``(x y / d + 1)^3``, unbiased.

    About 0, and at times below, for two sets of one distribution. NaN where a set has but one
    subject.

    References
    ----------
    Binkowski et al., Demystifying MMD GANs, ICLR 2018.
    """
    return _Discrepancy.of(a, b).estimate()


def kid_interval(a: Points, b: Points, seed: int = 0) -> tuple[float, float]:
    """Return the bounds of `kid` that hold 95 % of a bootstrap over subjects.

    Where images have no subjects, each stands for itself. Subjects that both sets have in common
    are drawn together.
    """
    return _Discrepancy.of(a, b).interval(torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class _Sums:
    """Kernel values and counts of the pairs that count, summed by pairs of subjects."""

    kernel: Tensor
    counts: Tensor

    @classmethod
    def of(cls, a: Points, b: Points) -> _Sums:
        counted = strangers(a, b).double()
        x, y = a.values.double(), b.values.double()
        kernel = (x @ y.T / x.shape[1] + 1) ** 3
        return cls(_by_subject(kernel * counted, a, b), _by_subject(counted, a, b))

    def mean(self, left: Tensor, right: Tensor) -> Tensor:
        """Average with weights ``(draws, subjects)`` on either side."""
        kernel, counts = ((m * right).sum(1) for m in (left @ self.kernel, left @ self.counts))
        return kernel / counts


@dataclass(frozen=True)
class _Discrepancy:
    aa: _Sums
    bb: _Sums
    ab: _Sums
    is_paired: bool
    """Both sets are of the same subjects."""

    @classmethod
    def of(cls, a: Points, b: Points) -> _Discrepancy:
        names = [dict.fromkeys(points.subjects) for points in (a, b)]
        is_paired = bool(names[0]) and list(names[0]) == list(names[1])
        return cls(_Sums.of(a, a), _Sums.of(b, b), _Sums.of(a, b), is_paired)

    def estimate(self) -> float:
        left, right = (torch.ones(1, len(s.kernel), dtype=torch.double) for s in (self.aa, self.bb))
        return float(self._weighted(left, right))

    def interval(self, generator: torch.Generator) -> tuple[float, float]:
        right = _redrawn(len(self.bb.kernel), generator)
        left = right if self.is_paired else _redrawn(len(self.aa.kernel), generator)
        found = self._weighted(left, right)
        rest = (1 - _CONFIDENCE) / 2
        limits = torch.tensor([rest, 1 - rest], dtype=torch.double)
        low, high = found.nanquantile(limits).tolist()
        return low, high

    def _weighted(self, left: Tensor, right: Tensor) -> Tensor:
        within = self.aa.mean(left, left) + self.bb.mean(right, right)
        return within - 2 * self.ab.mean(left, right)


def _by_subject(pairs: Tensor, a: Points, b: Points) -> Tensor:
    """Sum ``(n, m)`` over the images of each subject; a subject drawn twice has no pairs more."""
    for axis, points in enumerate((a, b)):
        if points.subjects:
            numbers = {name: number for number, name in enumerate(dict.fromkeys(points.subjects))}
            index = torch.tensor([numbers[name] for name in points.subjects])
            shape = [*pairs.shape]
            shape[axis] = len(numbers)
            pairs = pairs.new_zeros(shape).index_add_(axis, index, pairs)
    return pairs


def _redrawn(count: int, generator: torch.Generator) -> Tensor:
    """Return how often each of ``count`` is drawn, with replacement, ``(draws, count)``."""
    drawn = torch.randint(0, count, (_DRAWS, count), generator=generator)
    times = torch.zeros(_DRAWS, count, dtype=torch.double)
    return times.scatter_add_(1, drawn, torch.ones_like(times))


# ---- Gaussian distance --------------------------------------------------------------------------


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of the Gaussians fitted to two sets of points ``(n, d)``.

    Large where points are few beside the dimensions: give it few dimensions, and compare with what
    two real sets of the same sizes give. NaN for a single point.

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


def precision(made: Points, real: Points, k: int = NEIGHBOURS) -> float:
    """Share of ``made`` that lies in the neighbourhood of a real point.

    A neighbourhood reaches to the ``k``-th nearest real point of another subject; NaN where there
    are not so many.

    References
    ----------
    Kynkäänniemi et al., Improved precision and recall metric, NeurIPS 2019.
    """
    return float(_inside(made, real, k).amax(1).mean())


def recall(made: Points, real: Points, k: int = NEIGHBOURS) -> float:
    """Share of the real points that lie in the neighbourhood of a made one; see `precision`."""
    return precision(real, made, k)


def density(made: Points, real: Points, k: int = NEIGHBOURS) -> float:
    """Mean number of real neighbourhoods, in units of ``k``, that a made point lies in.

    Unlike precision, one real outlier does not make what surrounds it right. It can exceed 1.

    References
    ----------
    Naeem et al., Reliable fidelity and diversity metrics for generative models, ICML 2020.
    """
    return float(_inside(made, real, k).sum(1).mean() / k)


def coverage(made: Points, real: Points, k: int = NEIGHBOURS) -> float:
    """Share of the real neighbourhoods that a made point lies in; see `density`."""
    return float(_inside(made, real, k).amax(0).mean())


def _inside(points: Points, centres: Points, k: int) -> Tensor:
    """Say which points lie in which neighbourhoods, ``(points, centres)``: 1, 0 or NaN."""
    among = _distances(centres, centres)
    if len(centres) < k:
        return among.new_full((len(points), len(centres)), float("nan"))
    radii = among.kthvalue(k, dim=1).values
    inside = (_distances(points, centres) <= radii).float()
    return inside.masked_fill(radii.isinf(), float("nan"))


def _distances(a: Points, b: Points) -> Tensor:
    """Return Euclidean distances ``(n, m)``, infinite between what may not be compared."""
    return torch.cdist(a.values, b.values).masked_fill(~strangers(a, b), torch.inf)
