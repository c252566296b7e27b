"""The normal operator of the NUFFT, A^H W A, without leaving the grid.

It is a convolution with the point spread function, so one pair of FFTs of twice the size does it,
several times faster than sampling and adding up, in torch alone, on any device. Fessler et al.,
IEEE Trans Signal Process 53:3393 (2005).
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_mrgen.mri import coils
from napari_mrgen.mri.nufft import adjoint


def kernel(trajectory: Tensor, weights: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return what `normal` multiplies by in k-space, for images of ``shape``.

    Parameters
    ----------
    trajectory
        ``(t, k, 2)``.
    weights
        Real, ``(t, k)``: W, one for each sample.

    Returns
    -------
    Tensor
        Real, ``(t, 2y, 2x)``.
    """
    y, x = shape
    complex_weights = torch.complex(weights, torch.zeros_like(weights))[:, None]
    spread = adjoint(complex_weights, trajectory, (2 * y, 2 * x))[:, 0]
    # Pixels are at most size - 1 apart; without the first row and column the function is Hermitian,
    # and its transform real.
    inner = torch.zeros_like(spread)
    inner[:, 1:, 1:] = spread[:, 1:, 1:]
    spectrum: Tensor = torch.fft.fft2(torch.fft.ifftshift(inner, (-2, -1)))
    return spectrum.real


def normal(series: Tensor, kernel: Tensor) -> Tensor:
    """Apply A^H W A to coil images ``(t, c, y, x)``, as ``adjoint(weights * forward(series))``."""
    y, x = series.shape[-2:]
    spectrum = torch.fft.fft2(series, (2 * y, 2 * x)) * kernel[:, None]
    made: Tensor = torch.fft.ifft2(spectrum)[..., :y, :x]
    return made


def normal_of_coils(series: Tensor, maps: Tensor, kernel: Tensor) -> Tensor:
    """Apply C^H A^H W A C to images ``(t, y, x)``: expanded to coils with ``maps``, and combined.

    On a CPU frame by frame, as the coils of one frame fit into its cache: five times faster.
    """
    chunk = 1 if series.device.type == "cpu" else len(series)
    made = [
        coils.combine(normal(coils.expand(some, maps), spread), maps)
        for some, spread in zip(torch.split(series, chunk), torch.split(kernel, chunk), strict=True)
    ]
    return torch.cat(made)
