"""The centred Fourier transform between an image and its Cartesian k-space."""

from __future__ import annotations

import torch
from torch import Tensor


def fft(image: Tensor, axes: int = 2) -> Tensor:
    """Transform over the last ``axes`` axes; the zero frequency lies at index ``size // 2``.

    Orthonormal: the sum of squares is kept, and `ifft` is both the inverse and the adjoint.
    """
    dims = tuple(range(-axes, 0))
    shifted = torch.fft.ifftshift(image, dims)
    samples: Tensor = torch.fft.fftshift(torch.fft.fftn(shifted, dim=dims, norm="ortho"), dims)
    return samples


def ifft(samples: Tensor, axes: int = 2) -> Tensor:
    """Transform back over the last ``axes`` axes: the inverse of `fft`."""
    dims = tuple(range(-axes, 0))
    shifted = torch.fft.ifftshift(samples, dims)
    image: Tensor = torch.fft.fftshift(torch.fft.ifftn(shifted, dim=dims, norm="ortho"), dims)
    return image
