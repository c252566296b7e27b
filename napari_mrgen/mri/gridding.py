"""Gridding of radial samples: density compensation, zero filling, and averaging over frames.

Weights are areas in units of ``(2 pi)^2``, the whole of k-space. So of a fully sampled trajectory
``adjoint(weights * forward(image))`` has the scale of the image, and needs no factor. Samples of
several frames gridded together make an image of the same scale as the mean of their images; each
frame is therefore gridded once, and view sharing is a moving average over the gridded frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_mrgen.mri.nufft import adjoint


def radial_weights(trajectory: Tensor) -> Tensor:
    """Weight the samples of spokes through the centre by their distance from it (ramp filter).

    The spokes of a frame share the circle evenly, however few they are, so the mean over several
    frames is weighted correctly too. Along a spoke there must be twice as many samples as pixels;
    with as many samples as pixels images become a sixth too dark.

    Parameters
    ----------
    trajectory
        ``(t, k, 2)``, radial, the samples of a spoke side by side.

    Returns
    -------
    Tensor
        ``(t, k)``.

    Examples
    --------
    >>> import math
    >>> from napari_mrgen.mri.trajectories import radial
    >>> weights = radial_weights(radial(frames=2, spokes=101, samples=128))
    >>> disc = math.pi * math.pi**2 / (2 * math.pi) ** 2
    >>> [round(float(area) / disc, 2) for area in weights.sum(1)]
    [1.0, 1.0]
    """
    step = (trajectory[:, 1] - trajectory[:, 0]).norm(dim=-1, keepdim=True)
    # The sum over a spoke misses this much of the integral at the kink of the ramp, in the centre.
    # (A disc of half a step would be a quarter: 5 % too bright where samples are twice the pixels.)
    radius = torch.maximum(trajectory.norm(dim=-1), step / 6)
    # A ring of this radius, one step thick, shared by two samples of each spoke.
    return radius / (2 * trajectory.shape[1])


def zero_filled(
    samples: Tensor, trajectory: Tensor, weights: Tensor, shape: tuple[int, int]
) -> Tensor:
    """Grid each frame by itself; what was not sampled counts as zero.

    Parameters
    ----------
    samples, trajectory, weights
        ``(t, c, k)``, ``(t, k, 2)`` and ``(t, k)``; the weights are those of `radial_weights`.
    shape
        Pixels along y and x.

    Returns
    -------
    Tensor
        Complex, ``(t, c, y, x)``.
    """
    return adjoint(samples * weights[:, None], trajectory, shape)


def moving_average(series: Tensor, window: int, *, circular: bool = False) -> Tensor:
    """Replace each frame of ``(t, ...)`` by the mean of ``window`` frames around it.

    ``circular`` treats the series as one cardiac cycle, so that the first frame follows the last.
    Otherwise the window stays inside: the first frames have more frames after them than before.

    Raises
    ------
    ValueError
        If the window is longer than the series.

    Examples
    --------
    >>> moving_average(torch.arange(5.0), 3).tolist()
    [1.0, 1.0, 2.0, 3.0, 3.0]
    """
    frames = len(series)
    if not 1 <= window <= frames:
        msg = f"Moving average: expected a window of 1 to {frames} frames, got {window}"
        raise ValueError(msg)
    first = torch.arange(frames, device=series.device) - window // 2
    if not circular:
        first = first.clamp(0, frames - window)
    neighbours = (first[:, None] + torch.arange(window, device=series.device)) % frames
    share = torch.zeros(frames, frames, dtype=series.dtype, device=series.device)
    share.scatter_(1, neighbours, 1 / window)
    averaged: Tensor = torch.tensordot(share, series, dims=1)
    return averaged
