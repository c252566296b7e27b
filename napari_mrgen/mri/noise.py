"""Receiver noise, in k-space samples and in magnitude images."""

from __future__ import annotations

import torch
from torch import Tensor


def complex_noise(values: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Add noise to complex values, of this standard deviation in real and imaginary part each.

    An orthonormal Fourier transform turns it into noise of the same deviation.
    """
    noise = torch.randn((*values.shape, 2), generator=generator, device=generator.device)
    return values + deviation * torch.view_as_complex(noise).to(values)


def rician(image: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Return the magnitude of a real image plus complex noise (Rician).

    It is never negative, and its mean lies above the image where that is dark (Gudbjartsson and
    Patz, Magn Reson Med 34:910, 1995).
    """
    return complex_noise(image.to(image.dtype.to_complex()), deviation, generator).abs()
