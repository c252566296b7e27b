"""Features of slices, by which sets of images are compared: computed, with nothing to download.

A slice is described by how much structure of each size and orientation lies where in it: the
moduli of Gabor wavelets, averaged over a coarse grid, which is the first order of a scattering
transform. They hardly change when an image is moved or bent a little, and change at once when it
is blurred, noisy or has texture in the wrong place; a low-resolution image beside them says what is
bright where. Both are turned to the directions in which real slices differ most and scaled by how
much they differ (PCA whitening). A slice and its mirror image are described alike: models are
trained on both.

Networks trained on photographs are the usual choice. They need a download, and how well their
distances agree with radiologists depends on the network (Woodland et al., MICCAI 2024). Figures in
other features, or in these fitted on other slices, are not comparable.

References
----------
Bruna and Mallat, Invariant scattering convolution networks, IEEE TPAMI 35(8):1872-1886, 2013.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

DIMENSIONS = 32
"""Directions of largest variance that are kept, or fewer where there are fewer images."""
ORIENTATIONS, SCALES = 6, 4
_GRID, _PICTURE = 4, 8
_WAVELENGTH, _REACH = 4.0, 3
"""Of the finest wavelets, in pixels; for each coarser scale the image is halved instead."""
_FLOOR = 0.1
"""Added to a modulus, as a share of the intensity range, before the logarithm: between faint noise
and none there is little difference. Chosen, as is the next, so that on brain slices neither noise
nor blur that a reader would overlook outweighs the loss of most subjects."""
_RIDGE = 0.3
"""Added to each variance, as a share of their mean: what hardly differs must not count for most."""
_SMALLEST = 8
_BATCH = 4


@dataclass(frozen=True)
class Features:
    """A fixed description of slices, whitened on real ones."""

    mean: Tensor
    axes: Tensor
    """``(described, kept)``: directions, of about unit variance in the slices fitted on."""

    @classmethod
    def fit(cls, images: Tensor, dimensions: int = DIMENSIONS) -> Features:
        """Find the directions in which real slices ``(n, y, x)``, 0 to 1, differ most."""
        described = describe(images).double()
        mean = described.mean(0)
        _, spread, directions = torch.linalg.svd(described - mean, full_matrices=False)
        variance = spread.square()[:dimensions] / max(1, len(images) - 1)
        variance = variance[variance > 1e-9 * variance.sum()]
        widened = variance + _RIDGE * variance.mean()
        scale = ((variance / widened).mean() * widened).sqrt()
        return cls(mean.float(), (directions[: len(variance)].T / scale).float())

    def __call__(self, images: Tensor) -> Tensor:
        """Return ``(n, kept)`` of slices ``(n, y, x)``, the largest variance first."""
        return (describe(images) - self.mean) @ self.axes


def describe(images: Tensor) -> Tensor:
    """Return the description of slices ``(n, y, x)`` before whitening."""
    return in_batches(_describe, images, _BATCH)


def in_batches(function: Callable[[Tensor], Tensor], rows: Tensor, size: int) -> Tensor:
    """Apply a function to a few rows (images, pairs) at a time, in bounded memory."""
    return torch.cat([function(rows[i : i + size]) for i in range(0, len(rows), size)])


def _describe(images: Tensor) -> Tensor:
    level = images.float()[:, None]
    picture = functional.adaptive_avg_pool2d(level, _PICTURE)
    found = [((picture + picture.flip(-1)) / 2)[..., : _PICTURE // 2].flatten(1)]
    for _ in range(SCALES):
        if min(level.shape[-2:]) < _SMALLEST:
            break
        found.append(_energies(level).flatten(1))
        level = functional.avg_pool2d(level, 2)
    return torch.cat(found, 1)


def _energies(level: Tensor) -> Tensor:
    """Return the log of the mean modulus, ``(n, orientations, grid, grid)``."""
    padded = functional.pad(level, (_REACH,) * 4, mode="reflect")
    even, odd = functional.conv2d(padded, _wavelets().to(level)).chunk(2, 1)
    found = (functional.adaptive_avg_pool2d(torch.hypot(even, odd), _GRID) + _FLOOR).log()
    mirrored = -torch.arange(ORIENTATIONS) % ORIENTATIONS
    return (found + found[:, mirrored].flip(-1)) / 2


@functools.cache
def _wavelets() -> Tensor:
    """Return Gabor wavelets without a mean, even before odd, ``(2 orientations, 1, y, x)``."""
    axis = torch.arange(-_REACH, _REACH + 1.0)
    angles = torch.arange(ORIENTATIONS).view(-1, 1, 1) * math.pi / ORIENTATIONS
    along = axis * angles.cos() + axis[:, None] * angles.sin()
    width = _WAVELENGTH / 2.5
    window = (-(axis.square() + axis[:, None].square()) / (2 * width**2)).exp()
    phase = 2 * math.pi * along / _WAVELENGTH
    even = window * phase.cos()
    even = even - window * even.sum((1, 2), keepdim=True) / window.sum()
    pair = torch.cat([even, window * phase.sin()])
    return (pair / pair.abs().sum((1, 2), keepdim=True))[:, None]
