"""Reconstruction without a model: zero-filling, view sharing, the time average.

Weights count what share of k-space a sample stands for, so samples of several frames together make
an image of the same scale as the mean of their images. That is how they are put together here: each
frame is gridded once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_mrgen.mri.nufft import adjoint


def zero_fill(
    samples: Tensor, trajectory: Tensor, weights: Tensor, shape: tuple[int, int]
) -> Tensor:
    """Grid each frame by itself; what was not sampled counts as zero.

    Parameters
    ----------
    samples, trajectory, weights
        ``(t, c, k)``, ``(t, k, 2)`` and ``(t, k)``; the weights are those of `density.ramp`.
    shape
        Pixels along y and x.

    Returns
    -------
    Tensor
        Complex, ``(t, c, y, x)``.
    """
    return adjoint(samples * weights[:, None], trajectory, shape)


def view_share(
    samples: Tensor,
    trajectory: Tensor,
    weights: Tensor,
    window: int,
    shape: tuple[int, int],
    *,
    circular: bool = False,
) -> Tensor:
    """Grid each frame together with its neighbours, ``window`` frames in all.

    Parameters as those of `zero_fill` and `moving_average`; returns ``(t, c, y, x)``.
    """
    return moving_average(zero_fill(samples, trajectory, weights, shape), window, circular=circular)


def time_average(
    samples: Tensor, trajectory: Tensor, weights: Tensor, shape: tuple[int, int]
) -> Tensor:
    """Grid all frames together, as if nothing moved: ``(c, y, x)``."""
    return zero_fill(samples, trajectory, weights, shape).mean(0)


def moving_average(series: Tensor, window: int, *, circular: bool = False) -> Tensor:
    """Replace each frame of ``(t, ...)`` by the mean of ``window`` frames around it.

    ``circular`` takes the series for one heart beat, so that the first frame follows the last.
    Otherwise the window stays inside: the first frames have more after them than before.
    """
    frames = len(series)
    if not 1 <= window <= frames:
        msg = f"Moving average: expected a window of 1 to {frames} frames, got {window}"
        raise ValueError(msg)
    first = torch.arange(frames, device=series.device) - window // 2
    if not circular:
        first = first.clamp(0, frames - window)
    taken = (first[:, None] + torch.arange(window, device=series.device)) % frames
    share = torch.zeros(frames, frames, dtype=series.dtype, device=series.device)
    share.scatter_(1, taken, 1 / window)
    averaged: Tensor = torch.tensordot(share, series, dims=1)
    return averaged
