"""The networks of PatternFlow 46481326: the VQ-VAE, and the DCGAN over its codes."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from napari_mrgen.data.slices import CONDITIONS

NOISE = 100
"""Dimension of the latent vector of a map."""
_COARSEST = 7
"""Most rows of the map that a generator starts from."""


class Encoder(nn.Sequential):
    """Two strided convolutions and two residual blocks: ``(n, 1, y, x)`` to a quarter."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__(
            nn.Conv2d(1, width, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            Residual(2 * width, width // 2),
            Residual(2 * width, width // 2),
            nn.Conv2d(2 * width, size, 1),
        )


class Decoder(nn.Sequential):
    """Two residual blocks and two transposed convolutions."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__(
            nn.Conv2d(size, 2 * width, 3, padding=1),
            Residual(2 * width, width // 2),
            Residual(2 * width, width // 2),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1),
        )


class Residual(nn.Module):
    """Residual block of a narrow pair of convolutions."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, narrow, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(narrow, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)  # type: ignore[no-any-return]


class CodeGenerator(nn.Module):
    """Generator of maps of codes' vectors from noise and conditions."""

    def __init__(self, side: int, size: int, width: int) -> None:
        super().__init__()
        doublings = _doublings(side)
        widths = [width * 2**level for level in reversed(range(doublings))]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(NOISE + CONDITIONS, widths[0], side >> doublings, bias=False)
        ]
        for before, after in itertools.pairwise(widths):
            layers += [
                nn.BatchNorm2d(before),
                nn.ReLU(),
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
            ]
        self.layers = nn.Sequential(
            *layers,
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
            nn.ConvTranspose2d(widths[-1], size, 4, stride=2, padding=1),
        )
        self.apply(_start_small)

    def forward(self, noise: Tensor, conditions: Tensor) -> Tensor:
        """Map ``(n, 100)`` and ``(n, 4)`` to vectors ``(n, d, side, side)``."""
        return self.layers(torch.cat([noise, conditions], 1)[:, :, None, None])  # type: ignore[no-any-return]


class CodeDiscriminator(nn.Module):
    """Discriminator of maps of codes' vectors, with their conditions."""

    def __init__(self, side: int, size: int, width: int) -> None:
        super().__init__()
        doublings = _doublings(side)
        widths = [width * 2**level for level in range(doublings)]
        layers: list[nn.Module] = [nn.Conv2d(size + CONDITIONS, widths[0], 4, stride=2, padding=1)]
        for before, after in itertools.pairwise(widths):
            layers += [
                nn.LeakyReLU(0.2),
                nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
            ]
        last = nn.Conv2d(widths[-1], 1, side >> doublings)
        self.layers = nn.Sequential(*layers, nn.LeakyReLU(0.2), last)
        self.apply(_start_small)

    def forward(self, vectors: Tensor, conditions: Tensor) -> Tensor:
        """Return one logit a map, ``(n,)``."""
        known = conditions[:, :, None, None].expand(-1, -1, *vectors.shape[2:])
        return self.layers(torch.cat([vectors, known], 1)).flatten()  # type: ignore[no-any-return]


def _doublings(side: int) -> int:
    count = 1
    while side >> count > _COARSEST and not (side >> count) % 2:
        count += 1
    return count


def _start_small(layer: nn.Module) -> None:
    """Initialise as DCGANs do (Radford et al., ICLR 2016): weights near 0, scales near 1."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
