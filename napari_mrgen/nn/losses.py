"""Losses that two or more families use."""

from __future__ import annotations

from torch import Tensor

from napari_mrgen.metrics.images import radial_power


def charbonnier(error: Tensor, width: float = 0.01, weight: Tensor | None = None) -> Tensor:
    """Return the mean absolute error, smooth within ``width`` (Charbonnier et al., ICIP 1994).

    A ``width`` of 0 is the plain mean. With weights, in the shape of ``error``, it is a weighted
    mean; if all weights are 0 it is 0.
    """
    size = ((error.square() + width * width).sqrt() - width) if width else error.abs()
    if weight is None:
        return size.mean()
    return (size * weight).sum() / weight.sum().clamp(min=1)


def log_mse(error: Tensor, dims: int, floor: float = 1e-4) -> Tensor:
    """Return the mean logarithm of the squared error, averaged over the last ``dims`` axes first.

    It is PSNR up to sign and unit, so that images count equally whatever their error. Errors below
    ``floor``, noise of a hundredth of the intensity range, matter little.
    """
    return (error.square().mean(tuple(range(-dims, 0))) + floor).log().mean()


def spectral_loss(prediction: Tensor, truth: Tensor, band: tuple[float, float]) -> Tensor:
    """Return the mean absolute difference of log10 radial power of two sets ``(..., y, x)``.

    Power is averaged over each set, so that the texture is compared, not single spectra.
    """
    frequency, power = radial_power(prediction.float())
    _, reference = radial_power(truth.float())
    inside = ((frequency >= band[0]) & (frequency <= band[1])).to(power)
    floor = 1e-9
    means = [p.flatten(0, -2).mean(0) + floor for p in (power, reference)]
    ratio = means[0].log10() - means[1].log10()
    return (ratio.abs() * inside).sum() / inside.sum()
