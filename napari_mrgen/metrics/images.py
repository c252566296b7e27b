"""Image metrics, defined once: data range, window, mask and dimensionality stated.

Images are ``(..., y, x)`` tensors; every function keeps the leading axes unless it says otherwise,
so that values can be averaged by horizon, slice or subject afterwards.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
_BRIGHT = 0.05
"""Intensity of the head, after smoothing, above which a pixel belongs to it."""
_SIGMA = 1.5
"""Width of the smoothing, in pixels."""


def mse(prediction: Tensor, truth: Tensor, mask: Tensor | None = None, dims: int = 2) -> Tensor:
    """Return the mean squared error over the last ``dims`` axes, inside ``mask`` if given."""
    error = (prediction - truth).square()
    axes = tuple(range(-dims, 0))
    if mask is None:
        return error.mean(axes)
    weight = mask.to(error).expand_as(error)
    return (error * weight).sum(axes) / weight.sum(axes)


def psnr(
    prediction: Tensor,
    truth: Tensor,
    data_range: float = 1.0,
    mask: Tensor | None = None,
    dims: int = 2,
) -> Tensor:
    """Return the peak signal-to-noise ratio in dB over the last ``dims`` axes.

    ``dims=2`` gives one value a slice, ``dims=3`` one a volume ``(z, y, x)``.

    Examples
    --------
    >>> truth = torch.zeros(2, 16, 16)
    >>> psnr(truth + 0.1, truth).tolist()
    [20.0, 20.0]
    """
    return 20 * math.log10(data_range) - 10 * torch.log10(mse(prediction, truth, mask, dims))


def ssim(
    prediction: Tensor,
    truth: Tensor,
    data_range: float = 1.0,
    mask: Tensor | None = None,
    dims: int = 2,
) -> Tensor:
    """Return the structural similarity: Gaussian window of 11 pixels, sigma 1.5, K .01 and .03.

    It is that of slices, or with ``dims=3`` of volumes ``(z, y, x)`` with a cubic window. The mean
    runs over pixels whose window lies inside the image, or over those of them in ``mask``.

    References
    ----------
    Wang et al., IEEE Transactions on Image Processing 13(4):600-612, 2004.

    Examples
    --------
    >>> image = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> round(ssim(image, image).item(), 3)
    1.0
    """
    return average_similarity(ssim_map(prediction, truth, data_range, dims), mask, dims)


def average_similarity(similarity: Tensor, mask: Tensor | None, dims: int = 2) -> Tensor:
    """Return the mean of an `ssim_map`, over all of it or over the image's ``mask``."""
    axes = tuple(range(-dims, 0))
    if mask is None:
        return similarity.mean(axes)
    edge = SSIM_WINDOW // 2
    inner: tuple[Any, ...] = (..., *(slice(edge, -edge) for _ in axes))
    weight = mask[inner].to(similarity).expand_as(similarity)
    return (similarity * weight).sum(axes) / weight.sum(axes)


def ssim_map(prediction: Tensor, truth: Tensor, data_range: float = 1.0, dims: int = 2) -> Tensor:
    """Return local similarities; each of the last ``dims`` axes is 10 shorter. See `ssim`."""
    luminance, structure = ssim_terms(prediction, truth, data_range, dims)
    return luminance * structure


def ssim_terms(
    prediction: Tensor, truth: Tensor, data_range: float = 1.0, dims: int = 2
) -> tuple[Tensor, Tensor]:
    """Return the two factors of `ssim_map`: luminance, and contrast times structure."""
    if min(prediction.shape[-dims:]) < SSIM_WINDOW:
        size = "x".join(map(str, prediction.shape[-dims:]))
        least = "x".join([str(SSIM_WINDOW)] * dims)
        msg = f"SSIM needs images of at least {least} pixels, got {size}"
        raise ValueError(msg)
    shape = torch.broadcast_shapes(prediction.shape, truth.shape)  # type: ignore[no-untyped-call]
    x, y = prediction.expand(shape), truth.expand(shape)
    moments = _blur(torch.stack([x, y, x * x, y * y, x * y]), dims)
    mean_x, mean_y, xx, yy, xy = moments.unbind(0)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    covariance = xy - mean_x * mean_y
    variances = xx - mean_x.square() + yy - mean_y.square()
    return luminance, (2 * covariance + c2) / (variances + c2)


def head_mask(images: Tensor) -> Tensor:
    """Return a mask of the head in slices ``(..., y, x)`` of intensities 0..1.

    It holds the pixels brighter than 0.05 after smoothing by 1.5 pixels, with holes filled.
    """
    flat = images.detach().float().cpu().reshape(-1, *images.shape[-2:]).numpy()
    smooth = ndimage.gaussian_filter(flat, (0, _SIGMA, _SIGMA))
    filled = [ndimage.binary_fill_holes(bright) for bright in smooth > _BRIGHT]
    return torch.from_numpy(np.stack(filled)).view(images.shape).to(images.device)


def blur(images: Tensor, width: float) -> Tensor:
    """Blur 2-D slices with a Gaussian of ``width`` (sigma, in pixels); the edges wrap round."""
    rows, columns = images.shape[-2:]
    fy = torch.fft.fftfreq(rows, device=images.device)[:, None]
    fx = torch.fft.rfftfreq(columns, device=images.device)
    passed = (-2 * (math.pi * width) ** 2 * (fy.square() + fx.square())).exp()
    blurred: Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * passed, s=images.shape[-2:])
    return blurred


def radial_power(images: Tensor, bins: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the mean power of 2-D slices on rings of spatial frequency, under a Hann window.

    There are half as many ``bins`` as pixels on the shorter side, so that no ring is empty.

    Returns
    -------
    frequency
        ``(bins,)``, centres of the rings in cycles a pixel, up to 0.5.
    power
        ``(..., bins)``.
    """
    height, width = images.shape[-2:]
    bins = min(height, width) // 2 if bins is None else bins
    window = _hann(height, images)[:, None] * _hann(width, images)
    spectrum = torch.fft.rfft2(images * window).abs().square() / window.square().sum()
    fy = torch.fft.fftfreq(height, device=images.device)[:, None]
    fx = torch.fft.rfftfreq(width, device=images.device)
    radius = (fy.square() + fx.square()).sqrt()
    ring = (radius * 2 * bins).long().clamp(max=bins).flatten()
    power = spectrum.new_zeros(*images.shape[:-2], bins + 1)
    power.index_add_(-1, ring, spectrum.flatten(-2))
    counts = spectrum.new_zeros(bins + 1).index_add_(
        0, ring, torch.ones_like(ring, dtype=spectrum.dtype)
    )
    frequency = (torch.arange(bins, device=images.device) + 0.5) / (2 * bins)
    return frequency, power[..., :bins] / counts[:bins].clamp(min=1)


def spectral_distance(
    prediction: Tensor, truth: Tensor, band: tuple[float, float] = (0.1, 0.5)
) -> Tensor:
    """Return the mean absolute difference of log10 radial power over a band (cycles a pixel).

    Power is averaged over all leading axes first: the distance of two sets of images, not of pairs.
    """
    frequency, power = radial_power(prediction.flatten(0, -3))
    _, reference = radial_power(truth.flatten(0, -3))
    inside = (frequency >= band[0]) & (frequency <= band[1])
    return (power.mean(0).log10() - reference.mean(0).log10())[inside].abs().mean()


def _blur(images: Tensor, dims: int) -> Tensor:
    """Blur along each of the last ``dims`` axes in turn, where the window lies inside.

    Products with banded matrices are 16 times as fast on a CPU as one-channel convolutions of
    volumes.
    """
    kernel = torch.tensor(_gaussian(), dtype=images.dtype, device=images.device)
    for axis in range(-dims, 0):
        unit = torch.eye(images.shape[axis], dtype=images.dtype, device=images.device)
        band = functional.conv1d(unit[:, None], kernel[None, None])[:, 0]
        images = (images.movedim(axis, -1) @ band).movedim(-1, axis)
    return images


@functools.cache
def _gaussian() -> tuple[float, ...]:
    reach = SSIM_WINDOW // 2
    weights = [math.exp(-(i**2) / (2 * SSIM_SIGMA**2)) for i in range(-reach, reach + 1)]
    return tuple(w / sum(weights) for w in weights)


def _hann(size: int, like: Tensor) -> Tensor:
    return torch.hann_window(size, periodic=False, dtype=like.dtype, device=like.device)
