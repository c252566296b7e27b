"""Residual U-Net whose blocks are modulated by a vector (FiLM)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """Residual block of two convolutions, optionally modulated by a vector (FiLM).

    The second convolution starts at zero, so an untrained block is the identity.

    References
    ----------
    Perez et al., "FiLM: visual reasoning with a general conditioning layer", AAAI 2018.
    """

    def __init__(self, channels: int, condition: int = 0) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(math.gcd(8, channels), channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(condition, 2 * channels) if condition else None
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        h = self.norm(self.first(functional.silu(x)))
        if self.film is not None and condition is not None:
            scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return x + self.second(functional.silu(h))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Encoder of ``(n, c, y, x)`` to one feature map a level, each at half the resolution."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(width) for width in widths)
        self.down = nn.ModuleList(
            nn.Conv2d(above, below, 2, stride=2) for above, below in itertools.pairwise(widths)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [self.blocks[0](self.stem(x))]
        for down, block in zip(self.down, list(self.blocks)[1:], strict=True):
            features.append(block(down(features[-1])))
        return features


class Decoder(nn.Module):
    """Decoder from the features of an `Encoder` and a vector ``(n, condition)``."""

    def __init__(self, widths: Sequence[int], condition: int, out: int) -> None:
        super().__init__()
        self.middle = ResidualBlock(widths[-1], condition)
        self.up = nn.ModuleList(
            nn.Conv2d(below, above, 1) for above, below in itertools.pairwise(widths)
        )
        self.blocks = nn.ModuleList(ResidualBlock(width, condition) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], out, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, features: list[Tensor], condition: Tensor) -> Tensor:
        x = self.middle(features[-1], condition)
        levels = list(zip(self.up, self.blocks, features[:-1], strict=True))
        for up, block, skip in reversed(levels):
            x = block(functional.interpolate(up(x), scale_factor=2.0) + skip, condition)
        return self.head(functional.silu(x))  # type: ignore[no-any-return]
