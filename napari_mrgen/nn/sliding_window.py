"""Volumes that do not fit in memory are processed tile by tile, without seams."""

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
    """Apply a function to a volume ``(1, 1, z, y, x)`` by overlapping tiles; return float32.

    Two neighbours share at least ``overlap`` of their length. Over what they share, the weight of
    one falls smoothly from 1 to 0 as the other's rises: where the two differ near their borders,
    there is a slow change and no edge.

    Parameters
    ----------
    function
        From ``(1, 1, z, y, x)`` to ``(1, c, z, y, x)``. Its input has sides of ``tile``, or the
        volume's where they are shorter; a function that needs other sides pads them at their end.
    tile
        Length of a tile in voxels, one or one for each axis; 0 is the volume's.
    margin
        Voxels at a tile's border to another that are left out. With the receptive field's radius
        of ``function``, tiles give what the whole volume would.
    align
        Tiles start at multiples of it, so that a network that halves the resolution has the same
        grid in each as in the whole. The last tile is longer where it must be to reach the end.

    Examples
    --------
    >>> volume = torch.rand(1, 1, 20, 9, 9)
    >>> torch.allclose(tiled(torch.square, volume, tile=8, overlap=0.5), volume.square())
    True
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
            f"expected tiles that advance by at least {align} voxels and share at least "
            f"{2 * margin}, got tiles of {length} that share {shared}"
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
    weights /= weights.sum(0)  # With short strides a tile reaches the next but one.
    return [(place, weights[k, place]) for k, place in enumerate(places)]


def _rise(length: int, margin: int) -> Tensor:
    """Return weights that rise from 0 to 1, level at both ends and in both margins."""
    fade = max(length - 2 * margin, 1e-6)  # A step, where the margins take all.
    share = (torch.arange(length) - margin + 0.5) / fade
    return torch.sin(share.clamp(0, 1) * (pi / 2)).square()
