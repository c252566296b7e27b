"""Parts of networks for volumes ``(b, c, z, y, x)``, and how they save memory.

Nothing here depends on the volume as a whole, so tiles of it give what the whole does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

PLANES = 3
"""Least side of a convolution's input: oneDNN's bfloat16 gradients of two planes are wrong."""
KNOTS = 8
_STEEP = 8.0
"""Unit of the learned slopes of an intensity map: they must change faster than weights."""


class VolumeBlock(nn.Module):
    """Two convolutions beside an identity, without a norm; untrained it returns its input.

    References
    ----------
    Lim et al., "Enhanced deep residual networks for single image super-resolution", CVPR 2017.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(channels, channels, 3, padding=1)
        self.second = nn.Conv3d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.first.weight)
        start_at_zero(self.second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.relu(self.first(x), inplace=True))  # type: ignore[no-any-return]


class VolumeUNet(nn.Module):
    """A residual U-Net from features ``(b, widths[0], z, y, x)`` to features of the same shape.

    Sides must be multiples of 2 to the number of its levels but one.

    References
    ----------
    Cicek et al., "3D U-Net: learning dense volumetric segmentation from sparse annotation",
    MICCAI 2016.
    """

    def __init__(self, widths: Sequence[int], blocks: int, *, checkpointing: bool = False) -> None:
        super().__init__()
        fine = widths[:-1]
        self.ways_down = nn.ModuleList(_blocks(width, blocks) for width in fine)
        self.down = nn.ModuleList(nn.Conv3d(*pair, 2, stride=2) for pair in pairwise(widths))
        self.bottom = _blocks(widths[-1], 2 * blocks)
        self.up = nn.ModuleList(nn.Conv3d(below, above, 1) for above, below in pairwise(widths))
        self.ways_up = nn.ModuleList(_blocks(width, blocks) for width in fine)
        self.checkpointing = checkpointing

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for blocks, down in zip(self.ways_down, self.down, strict=True):
            skips.append(self._pass(blocks, x))
            x = down(skips[-1])
        x = self._pass(self.bottom, x)
        levels = list(zip(self.up, self.ways_up, skips, strict=True))
        for up, blocks, skip in reversed(levels):
            x = self._pass(blocks, functional.interpolate(up(x), scale_factor=2.0) + skip)
        return x

    def _pass(self, blocks: nn.Module, x: Tensor) -> Tensor:
        for block in blocks.children():
            x = recomputed(block, x, on=self.checkpointing)
        return x


class IntensityMap(nn.Module):
    """A piecewise linear function of a voxel's intensity, with `KNOTS` pieces; untrained ``y = x``.

    Its knots are evenly spaced from 0 to 1.
    """

    def __init__(self) -> None:
        super().__init__()
        slopes = torch.zeros(KNOTS)
        slopes[0] = 1 / _STEEP
        self.slopes = nn.Parameter(slopes)

    def forward(self, x: Tensor) -> Tensor:
        mapped = torch.zeros_like(x)
        for knot, slope in enumerate((_STEEP * self.slopes).unbind()):
            mapped = mapped + slope * functional.relu(x - knot / KNOTS)
        return mapped


def space_to_depth(x: Tensor, factor: int = 2) -> Tensor:
    """Move blocks of voxels into channels: ``(b, c, z, y, x)`` to ``(b, c f^3, z/f, y/f, x/f)``.

    Examples
    --------
    >>> space_to_depth(torch.zeros(1, 2, 8, 6, 4)).shape
    torch.Size([1, 16, 4, 3, 2])
    """
    b, c, *sides = x.shape
    z, y, w = (side // factor for side in sides)
    blocks = x.reshape(b, c, z, factor, y, factor, w, factor)
    return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, c * factor**3, z, y, w)


def depth_to_space(x: Tensor, factor: int = 2) -> Tensor:
    """Undo `space_to_depth`."""
    b, c, z, y, w = x.shape
    blocks = x.reshape(b, c // factor**3, factor, factor, factor, z, y, w)
    blocks = blocks.permute(0, 1, 5, 2, 6, 3, 7, 4)
    return blocks.reshape(b, c // factor**3, z * factor, y * factor, w * factor)


def padded_to(x: Tensor, multiple: int, least: int = 0) -> Tensor:
    """Repeat the last planes until every side is a multiple, and not less than ``least``."""
    sides = [max(side, least) for side in reversed(x.shape[2:])]
    missing = [
        side + -side % multiple - old
        for side, old in zip(sides, reversed(x.shape[2:]), strict=True)
    ]
    if not any(missing):
        return x
    return functional.pad(x, [n for side in missing for n in (0, side)], mode="replicate")


def cropped_as(x: Tensor, like: Tensor) -> Tensor:
    """Undo `padded_to`."""
    z, y, w = like.shape[2:]
    return x[..., :z, :y, :w]


def recomputed(part: Callable[[Tensor], Tensor], x: Tensor, *, on: bool) -> Tensor:
    """Call a part of a network; where ``on``, the backward pass computes it again from its input.

    The part must not be random: random states are not saved.

    References
    ----------
    Chen et al., "Training deep nets with sublinear memory cost", 2016.
    """
    if not (on and torch.is_grad_enabled()):
        return part(x)
    return checkpoint(part, x, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]


def start_at_zero(layer: nn.Conv3d) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(VolumeBlock(channels) for _ in range(count)))
