"""The networks of 3D_CycleGAN, with their instance normalisation corrected."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.families.cyclegan.config import CycleGanConfig
from napari_mrgen.nn.volumes import PLANES, cropped_as, padded_to, recomputed

_SLOPE = 0.2


class PublishedGenerator(nn.Module):
    """Strided convolutions, residual blocks and transposed convolutions, between -1 and 1.

    With 32 filters, one level and one block its convolutions have 353,985 weights.

    References
    ----------
    Welander et al., "Generative adversarial networks for image-to-image translation on
    multi-contrast MR images", 2018; Johnson et al., "Perceptual losses for real-time style
    transfer and super-resolution", ECCV 2016 (the network).
    """

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        self.legal, self.checkpointing = config.legal, config.checkpointing
        widths = [config.width * 2**level for level in range(config.levels + 1)]
        down: list[tuple[nn.Module, ...]] = [
            (nn.Conv3d(fine, coarse, 3, stride=2, padding=1), *_norm(coarse))
            for fine, coarse in pairwise(widths)
        ]
        up: list[tuple[nn.Module, ...]] = [
            (nn.ConvTranspose3d(coarse, fine, 3, 2, 1, output_padding=1), *_norm(fine))
            for fine, coarse in reversed(list(pairwise(widths)))
        ]
        first = (nn.ReflectionPad3d(3), nn.Conv3d(1, widths[0], 7), *_norm(widths[0]))
        last = (nn.ReflectionPad3d(3), nn.Conv3d(widths[0], 1, 7))
        # Checkpointing stores what lies between parts: never at full resolution.
        down[0], up[-1] = (*first, *down[0]), (*up[-1], *last)
        parts: list[nn.Module] = [nn.Sequential(*layers) for layers in down]
        parts += [_ReflectedBlock(widths[-1]) for _ in range(config.blocks)]
        parts += [nn.Sequential(*layers) for layers in up]
        self.parts = nn.ModuleList(parts)

    def forward(self, volume: Tensor) -> Tensor:
        """Translate ``(b, 1, z, y, x)``; the result lies between 0 and 1."""
        x = padded_to(2 * volume - 1, self.legal, PLANES * self.legal)
        for part in self.parts:
            x = recomputed(part, x, on=self.checkpointing)
        return (torch.tanh(cropped_as(x, volume).float()) + 1) / 2


class PublishedDiscriminator(nn.Module):
    """Classifies overlapping patches; with 64 filters and one level it has 8,257 weights."""

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        widths = [
            config.discriminator_width * 2**level for level in range(config.discriminator_levels)
        ]
        layers: list[nn.Module] = []
        for level, (before, after) in enumerate(zip([1, *widths], widths, strict=False)):
            layers.append(nn.Conv3d(before, after, 4, stride=2, padding=1))
            if level:
                layers.append(nn.InstanceNorm3d(after, affine=True))
            layers.append(nn.LeakyReLU(_SLOPE, inplace=True))
        self.layers = nn.Sequential(*layers)
        self.logits = nn.Conv3d(widths[-1], 1, 4)

    def forward(self, volume: Tensor) -> list[Tensor]:
        """Return the logits of the patches of ``(b, 1, z, y, x)``, at its one scale."""
        features = self.layers(2 * volume - 1)
        # An even kernel keeps the size only with one voxel more after than before, as Keras pads.
        return [self.logits(functional.pad(features, (1, 2) * 3))]


class _ReflectedBlock(nn.Module):
    """Two convolutions with reflection padding beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad3d(1),
            nn.Conv3d(channels, channels, 3),
            *_norm(channels),
            nn.ReflectionPad3d(1),
            nn.Conv3d(channels, channels, 3),
            nn.InstanceNorm3d(channels, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)  # type: ignore[no-any-return]


def _norm(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm3d(channels, affine=True), nn.ReLU(inplace=True)
