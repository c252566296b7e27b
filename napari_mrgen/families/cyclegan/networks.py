"""Networks that translate volumes, and their discriminators.

Volumes are ``(b, 1, z, y, x)``, scaled to about 0..1, of any size: a network pads what it must, and
crops its result.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_mrgen.data.heads.sessions import contrast_title
from napari_mrgen.families.cyclegan.config import DIRECTIONS, CycleGanConfig, DirectionName
from napari_mrgen.families.cyclegan.published import PublishedDiscriminator, PublishedGenerator
from napari_mrgen.nn.discriminators import MultiScaleDiscriminator
from napari_mrgen.nn.volumes import (
    PLANES,
    IntensityMap,
    VolumeUNet,
    cropped_as,
    depth_to_space,
    padded_to,
    recomputed,
    space_to_depth,
    start_at_zero,
)

MEAN, CONTRAST = 0.4, 3.0
"""Intensities in a brain, less the first and times the second, have about unit variance."""
WIDEST = 3
"""Coarse levels have at most so many times as many channels as the finest."""
_ROUND = 1e-4
"""Makes the slope of the root finite at 0, where a cycle's gradient passes."""
FOLD = 2
"""Side of the blocks of voxels that the network sees as channels."""


@dataclass(frozen=True)
class Direction:
    """A direction of translation, and the names of its networks and contrasts.

    Examples
    --------
    >>> direction = Direction("t1 to t2")
    >>> direction.title, direction.network, direction.inverse_network
    ('T1w to T2w', 't1_to_t2', 't2_to_t1')
    """

    name: DirectionName

    @property
    def source(self) -> str:
        return self.name[:2]

    @property
    def target(self) -> str:
        return self.name[-2:]

    @property
    def network(self) -> str:
        """Network that translates in this direction."""
        return f"{self.source}_to_{self.target}"

    @property
    def inverse_network(self) -> str:
        """Network that translates in the opposite direction."""
        return f"{self.target}_to_{self.source}"

    @property
    def discriminator(self) -> str:
        return f"discriminator_{self.target}"

    @property
    def pool(self) -> str:
        return f"pool_{self.target}"

    @property
    def source_title(self) -> str:
        return contrast_title(self.source)

    @property
    def target_title(self) -> str:
        return contrast_title(self.target)

    @property
    def title(self) -> str:
        return f"{self.source_title} to {self.target_title}"


ALL_DIRECTIONS = tuple(map(Direction, DIRECTIONS))


def directions(config: CycleGanConfig) -> tuple[Direction, ...]:
    """Return the directions that are learned."""
    return tuple(map(Direction, config.directions))


def build_translators(config: CycleGanConfig) -> dict[str, nn.Module]:
    """Build what a model file holds: a network for each direction, which fits any shape."""
    kind = PublishedGenerator if config.network == "published" else VolumeTranslator
    return {direction.network: kind(config) for direction in directions(config)}


def build_discriminators(config: CycleGanConfig) -> dict[str, nn.Module]:
    """Build a discriminator for each contrast that is translated to."""
    built: dict[str, nn.Module] = {}
    for direction in directions(config):
        if config.network == "published":
            built[direction.discriminator] = PublishedDiscriminator(config)
        else:
            built[direction.discriminator] = MultiScaleDiscriminator(
                1,
                config.discriminator_width,
                levels=config.discriminator_levels,
                scales=config.discriminator_scales,
                dims=3,
            )
    return built


class VolumeTranslator(nn.Module):
    """Maps intensities voxel by voxel, then adds the output of a U-Net.

    The U-Net works at half the resolution and coarser: blocks of 2 x 2 x 2 voxels are its channels,
    which costs an eighth and loses nothing. Its input includes the square roots of the intensities,
    which separate the dark fluid in a T1w head from the air around it. It has no norm, since
    statistics of a tile are not those of the volume, and no transposed convolution.

    References
    ----------
    Zhu et al., "Unpaired image-to-image translation using cycle-consistent adversarial networks",
    ICCV 2017; Shi et al., "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network", CVPR 2016 (voxels as channels).
    """

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        self.legal, self.checkpointing = config.legal, config.checkpointing
        width, voxels = config.width, FOLD**3
        widths = [width * min(2**level, WIDEST) for level in range(config.levels)]
        self.map = IntensityMap()
        self.stem = nn.Conv3d(2 * voxels, width, 3, padding=1)
        self.unet = VolumeUNet(widths, config.blocks, checkpointing=config.checkpointing)
        self.head = nn.Conv3d(width, voxels, 3, padding=1)
        start_at_zero(self.head)

    def forward(self, volume: Tensor) -> Tensor:
        """Translate ``(b, 1, z, y, x)``."""
        x = padded_to(volume, self.legal, PLANES * self.legal)
        detail = self.head(self.unet(self.stem(space_to_depth(_input_channels(x), FOLD))))
        mapped = recomputed(self.map, volume, on=self.checkpointing)
        return mapped + cropped_as(depth_to_space(detail, FOLD).float(), volume)


def _input_channels(x: Tensor) -> Tensor:
    """Return intensities ``(b, 1, z, y, x)`` and their square roots as two channels."""
    return CONTRAST * (torch.cat([x, (x.clamp(min=0) + _ROUND).sqrt()], 1) - MEAN)
