"""Features of slices for the comparison of sets of images; they need no download.

The features are the moduli of Gabor wavelets, averaged over a coarse grid (the first order of a
scattering transform), and a low-resolution image. They hardly change with a small translation or
deformation, and change with blur, noise or misplaced texture. Both are projected to the principal
components of real slices (PCA whitening). A slice and its mirror image have the same features,
since models are trained on both.

Networks trained on photographs are the usual choice. They need a download, and the agreement of
their distances with radiologists depends on the network (Woodland et al., MICCAI 2024). Distances
in other features, or in these fitted on other slices, are not comparable.

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
"""Number of principal components, or fewer if there are fewer images."""
ORIENTATIONS, SCALES = 6, 4
_GRID, _PICTURE = 4, 8
_WAVELENGTH, _REACH = 4.0, 3
"""Wavelength and half width of the finest wavelets, in pixels; coarser scales use a smaller
image."""
_FLOOR = 0.1
"""Added to a modulus before the logarithm, as a share of the intensity range, so that faint noise
has little effect. This and `_RIDGE` were chosen on brain slices so that neither noise nor blur that
a reader would overlook outweighs the loss of most subjects."""
_RIDGE = 0.3
"""Added to each variance, as a share of their mean, so that small variances do not dominate."""
_SMALLEST = 8
_BATCH = 4


@dataclass(frozen=True)
class Features:
    """Features of slices, whitened on real ones."""

    mean: Tensor
    axes: Tensor
    """``(raw, components)``: principal axes, of about unit variance in the slices they were fitted
    on."""

    @classmethod
    def fit(cls, images: Tensor, dimensions: int = DIMENSIONS) -> Features:
        """Fit the principal components of real slices ``(n, y, x)``, 0 to 1."""
        raw = raw_features(images).double()
        mean = raw.mean(0)
        _, spread, directions = torch.linalg.svd(raw - mean, full_matrices=False)
        variance = spread.square()[:dimensions] / max(1, len(images) - 1)
        variance = variance[variance > 1e-9 * variance.sum()]
        widened = variance + _RIDGE * variance.mean()
        scale = ((variance / widened).mean() * widened).sqrt()
        return cls(mean.float(), (directions[: len(variance)].T / scale).float())

    def __call__(self, images: Tensor) -> Tensor:
        """Return features ``(n, components)`` of slices ``(n, y, x)``."""
        return (raw_features(images) - self.mean) @ self.axes


def raw_features(images: Tensor) -> Tensor:
    """Return the features of slices ``(n, y, x)`` before whitening."""
    return in_batches(_raw_features, images, _BATCH)


def in_batches(function: Callable[[Tensor], Tensor], rows: Tensor, size: int) -> Tensor:
    """Apply a function to ``size`` rows (images, pairs) at a time, in bounded memory."""
    return torch.cat([function(rows[i : i + size]) for i in range(0, len(rows), size)])


def _raw_features(images: Tensor) -> Tensor:
    level = images.float()[:, None]
    picture = functional.adaptive_avg_pool2d(level, _PICTURE)
    parts = [((picture + picture.flip(-1)) / 2)[..., : _PICTURE // 2].flatten(1)]
    for _ in range(SCALES):
        if min(level.shape[-2:]) < _SMALLEST:
            break
        parts.append(_energies(level).flatten(1))
        level = functional.avg_pool2d(level, 2)
    return torch.cat(parts, 1)


def _energies(level: Tensor) -> Tensor:
    """Return the log of the mean modulus, ``(n, orientations, grid, grid)``."""
    padded = functional.pad(level, (_REACH,) * 4, mode="reflect")
    even, odd = functional.conv2d(padded, _wavelets().to(level)).chunk(2, 1)
    energies = (functional.adaptive_avg_pool2d(torch.hypot(even, odd), _GRID) + _FLOOR).log()
    mirrored = -torch.arange(ORIENTATIONS) % ORIENTATIONS
    return (energies + energies[:, mirrored].flip(-1)) / 2


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
