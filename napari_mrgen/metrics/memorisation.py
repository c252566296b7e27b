"""Memorisation: samples that are nearer to a training slice than slices of new subjects are.

The similarity of two slices is the correlation of their details: images of 64 x 64 pixels without
structure coarser than a few pixels, which all brains share. Correlation ignores gain and offset,
and the maximum over mirror images, scales of 95 to 105 % and shifts of up to 3 of 128 pixels is
taken, so that a near-copy is recognised after any of these. The threshold is the first percentile
of held-out slices. If a held-out subject were also in the training set, the threshold would be too
strict and no sample would be flagged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from napari_mrgen.metrics.distributions import ImageSet, comparable_pairs
from napari_mrgen.metrics.features import in_batches
from napari_mrgen.metrics.images import blur

PERCENTILE = 0.01
"""Share of the held-out slices below the threshold."""
SCALES = (0.95, 0.975, 1.0, 1.025, 1.05)
_FINE, _COARSE = 64, 32
_SHIFTS = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)
"""Shifts in pixels of the fine images."""
_SHARP, _SOFT = 1.0, 3.0
"""Details lie between these two widths of a Gaussian, in pixels."""
_CANDIDATES = 24
_BATCH = 4


@dataclass(frozen=True)
class NearCopies:
    """Distance of each sample to its nearest training slice, and the threshold."""

    distance: Tensor
    """``(n,)``, one minus the correlation of details."""
    nearest: Tensor
    """``(n,)``, index of that training slice."""
    limit: float
    """Threshold: the first percentile of the held-out slices' distances."""

    @property
    def flagged(self) -> Tensor:
        """``(n,)``, true for a near-copy."""
        return self.distance < self.limit

    @property
    def share(self) -> float:
        return float(self.flagged.float().mean())


class NearCopyFinder:
    """Comparison with the training slices, with a threshold from held-out slices."""

    def __init__(self, train: ImageSet, held_out: ImageSet) -> None:
        self._train = train
        self._fine = in_batches(lambda part: _details(part, _FINE), train.images, _BATCH)
        self._coarse = in_batches(lambda part: _details(part, _COARSE), train.images, _BATCH)
        self.limit = float(self._nearest(held_out)[0].nanquantile(PERCENTILE))

    def find(self, samples: ImageSet) -> NearCopies:
        return NearCopies(*self._nearest(samples), self.limit)

    def _nearest(self, samples: ImageSet) -> tuple[Tensor, Tensor]:
        starts = range(0, len(samples), _BATCH)
        parts = [range(len(samples))[start : start + _BATCH] for start in starts]
        distances, indices = zip(*(self._nearest_of(samples.take(p)) for p in parts), strict=True)
        return torch.cat(distances), torch.cat(indices)

    def _nearest_of(self, samples: ImageSet) -> tuple[Tensor, Tensor]:
        """Compare coarsely with all training slices, and finely with the best candidates."""
        variants = _variants(samples.images.float())
        allowed = comparable_pairs(samples, self._train)
        similarity = torch.stack([_details(v, _COARSE) @ self._coarse.T for v in variants], 1)
        similarity = similarity.masked_fill(~allowed[:, None], -torch.inf).flatten(1)
        top = similarity.topk(min(_CANDIDATES, similarity.shape[1]))
        variant, index = top.indices // len(self._train), top.indices % len(self._train)
        details = torch.stack([_details(v, _FINE) for v in variants], 1)
        chosen = details.gather(1, variant[..., None].expand(-1, -1, details.shape[2]))
        correlation = _correlation(chosen, self._fine[index])
        best = correlation.masked_fill(top.values.isinf(), -torch.inf).max(1)
        distance = (1 - best.values).clamp(min=0).masked_fill(best.values.isinf(), torch.nan)
        return distance, index.gather(1, best.indices[:, None])[:, 0]


def find_near_copies(samples: ImageSet, train: ImageSet, held_out: ImageSet) -> NearCopies:
    """Find near-copies of training slices among samples; the module's docstring says how."""
    return NearCopyFinder(train, held_out).find(samples)


def _variants(images: Tensor) -> list[Tensor]:
    """Return the images and their mirror images at all scales."""
    both = (images, images.flip(-1))
    return [_resized(mirrored, scale) for mirrored in both for scale in SCALES]


def _resized(images: Tensor, scale: float) -> Tensor:
    """Scale about the centre, with the same number of pixels."""
    if scale == 1:
        return images
    theta = torch.tensor([[1 / scale, 0, 0], [0, 1 / scale, 0]], dtype=images.dtype)
    shape = [len(images), 1, *images.shape[-2:]]
    grid = functional.affine_grid(theta.expand(len(images), 2, 3), shape, align_corners=False)
    return functional.grid_sample(images[:, None], grid, align_corners=False)[:, 0]


def _details(images: Tensor, size: int) -> Tensor:
    """Return details of images as vectors ``(n, size * size)`` of length one."""
    small = functional.adaptive_avg_pool2d(images.float()[:, None], size)
    details = blur(small, _SHARP) - blur(small, _SOFT)
    return functional.normalize(details.flatten(1), dim=1)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return the correlation of images ``(n, m, y * x)`` at the best shift, ``(n, m)``."""
    left, right = (torch.fft.rfft2(x.view(*x.shape[:2], _FINE, _FINE)) for x in (a, b))
    turns = 2j * torch.pi * torch.tensor(_SHIFTS)
    down = (turns[:, None] * torch.fft.fftfreq(_FINE)).exp()
    across = (turns * torch.fft.rfftfreq(_FINE)[:, None]).exp()
    # The half spectrum counts twice, but for its first and last columns.
    times = torch.full((_FINE // 2 + 1, 1), 2.0)
    times[[0, -1]] = 1.0
    shifted = (down @ (left * right.conj()) @ (across * times)).real / _FINE**2
    return torch.amax(shifted, dim=(-2, -1))
