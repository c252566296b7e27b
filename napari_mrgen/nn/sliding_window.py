"""Volumes that do not fit in memory as a whole are mapped tile by tile, without seams."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import ceil, pi
from typing import Any

import torch
from torch import Tensor

Span = tuple[slice, Tensor]
"""Where a tile lies along an axis, and its weights there."""


@torch.no_grad()
def tiled(
    function: Callable[[Tensor], Tensor],
    volume: Tensor,
    tile: int | tuple[int, int, int],
    overlap: float = 0.25,
    margin: int = 0,
    align: int = 1,
) -> Tensor:
    """Map a volume by overlapping tiles that fade into one another.

    Two neighbours share at least ``overlap`` of their length. Over what they share, the weight of
    one falls from 1 to 0 as the other's rises, with a slope that begins and ends at 0: where the
    two disagree, by what each sees at its border, there is a slow change and no edge.

    Parameters
    ----------
    function
        From ``(1, 1, z, y, x)`` to ``(1, c, z, y, x)``. It gets sides of ``tile``, or the
        volume's where that is shorter: what needs other sides pads them at their end.
    volume
        ``(1, 1, z, y, x)``.
    tile
        Length of a tile in voxels, one or one for each axis; 0 is the volume's.
    margin
        Voxels at a tile's border to another that count for nothing. With as many as ``function``
        looks at around a voxel, tiles give what the whole volume would.
    align
        Tiles start at multiples of it: a network that halves the resolution sees the same grid in
        each as in the whole. The last one is as much longer as it must be to reach the end.

    Returns
    -------
    Tensor
        ``(1, c, z, y, x)``, float32, on the device of ``volume``.
    """
    shape = volume.shape[2:]
    sides = (tile,) * 3 if isinstance(tile, int) else tile
    lengths = [min(side or size, size) for side, size in zip(sides, shape, strict=True)]
    if list(shape) == lengths:
        return function(volume).float()
    axes = [_spans(*of, overlap, margin, align) for of in zip(shape, lengths, strict=True)]
    joined = torch.zeros(0, device=volume.device)
    for spans in itertools.product(*axes):
        where: tuple[Any, ...] = (..., *(place for place, _ in spans))
        z, y, x = (weights.to(volume.device) for _, weights in spans)
        mapped = function(volume[where]).float()
        if not joined.numel():
            joined = mapped.new_zeros(1, mapped.shape[1], *shape)
        joined[where] += mapped * (z[:, None, None] * y[:, None] * x)
    return joined


def _spans(size: int, length: int, overlap: float, margin: int, align: int) -> list[Span]:
    """Place tiles evenly along an axis; their weights add up to 1 at every voxel."""
    if length == size:
        return [(slice(0, size), torch.ones(size))]
    shared = round(overlap * length)
    stride = (length - shared) // align * align
    if stride < 1 or 2 * margin > shared:
        msg = (
            f"expected tiles that go on by at least {align} voxels and share at least {2 * margin},"
            f" got tiles of {length} that share {shared}"
        )
        raise ValueError(msg)
    count = 1 + ceil((size - length) / stride)
    starts = [k * (size - length) // (count - 1) // align * align for k in range(count)]
    places = [slice(start, start + length) for start in starts[:-1]] + [slice(starts[-1], size)]
    weights = torch.zeros(count, size)
    for k, place in enumerate(places):
        weights[k, place] = 1.0
    for k, (one, next_one) in enumerate(itertools.pairwise(places)):
        both = slice(next_one.start, one.stop)
        rising = _rise(both.stop - both.start, margin)
        weights[k, both] *= 1 - rising
        weights[k + 1, both] *= rising
    weights /= weights.sum(0)  # Short strides let a tile reach the next but one.
    return [(place, weights[k, place]) for k, place in enumerate(places)]


def _rise(length: int, margin: int) -> Tensor:
    """From 0 to 1, level at both ends and in both margins."""
    fade = max(length - 2 * margin, 1e-6)  # A step, where the margins take all.
    share = (torch.arange(length) - margin + 0.5) / fade
    return torch.sin(share.clamp(0, 1) * (pi / 2)).square()
