"""Density compensation: how much of k-space each sample stands for.

Weights are areas in units of ``(2 pi)^2``, the whole of k-space. So of a fully sampled trajectory
``adjoint(weights * forward(image))`` has the scale of the image, and needs no factor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_mrgen.mri.nufft import adjoint, forward


def ramp(trajectory: Tensor) -> Tensor:
    """Weigh the samples of spokes through the centre by their distance from it.

    The spokes of a frame share the circle evenly, however few they are. So the mean over several
    frames has the right weights too. Along a spoke there must be twice as many samples as pixels;
    as many as pixels is too few, and makes images a sixth too dark.

    Parameters
    ----------
    trajectory
        ``(t, k, 2)``, radial, the samples of a spoke side by side.

    Returns
    -------
    Tensor
        ``(t, k)``.
    """
    step = (trajectory[:, 1] - trajectory[:, 0]).norm(dim=-1, keepdim=True)
    # The sum over a spoke misses this much of the integral at the kink of the ramp, in the centre.
    # (A disc of half a step would be a quarter: 5 % too bright where samples are twice the pixels.)
    radius = torch.maximum(trajectory.norm(dim=-1), step / 6)
    # A ring of this radius, one step thick, shared by two samples of each spoke.
    return radius / (2 * trajectory.shape[1])


def pipe(trajectory: Tensor, shape: tuple[int, int], iterations: int = 20) -> Tensor:
    """Weigh the samples of any trajectory so that, smoothed over their neighbours, they are even.

    Samples further apart than the field of view asks for get no more than a pixel of k-space each.
    Pipe and Menon, Magn Reson Med 41:179 (1999).

    Parameters
    ----------
    trajectory
        ``(t, k, 2)``.
    shape
        Pixels along y and x: the field of view.

    Returns
    -------
    Tensor
        ``(t, k)``.
    """
    window = _window(shape, trajectory)
    trajectory = trajectory.detach()
    size = (2 * shape[0], 2 * shape[1])
    weights = torch.ones_like(trajectory[..., 0])
    for _ in range(iterations):
        spread = adjoint(
            torch.complex(weights, torch.zeros_like(weights))[:, None], trajectory, size
        )
        weights = weights / forward(spread * window, trajectory)[:, 0].real
    return weights


def _window(shape: tuple[int, int], like: Tensor) -> Tensor:
    """Return the field of view convolved with itself, 1 in the centre: ``(2y, 2x)``.

    Its transform, the kernel that smooths, is a square and so nowhere negative.
    """
    y, x = (
        1 - (torch.arange(2 * size, device=like.device) - size).abs().to(like.dtype) / size
        for size in shape
    )
    return y[:, None] * x
