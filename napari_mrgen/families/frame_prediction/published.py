"""SimpleUGen and its discriminator: the networks of VolumetricVideo, for any volume size.

Source: T. Linhardt, https://github.com/tlinhardt/VolumetricVideo (2021).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.nn.noise import dropout, randn_like

STRIDES = ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))


class SimpleUGen(nn.Module):
    """3-D U-Net of four levels with the past frames as channels and noise beside every skip.

    The output has no sigmoid: 1 is a percentile, and brighter blood exists.
    """

    multiple = (4, 16, 16)
    knows_cycle = False
    knows_mirrors = False
    count = 1

    def __init__(self, context: int = 5, noise: float = 0.1) -> None:
        super().__init__()
        self.context = self.input_frames = context
        self.noise = noise
        widths = [context * factor for factor in (1, 2, 3, 4)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        before, below = context, 0
        for channels, stride in zip(widths, STRIDES, strict=True):
            self.down.append(_Down(before, channels, stride))
            before = channels
        for channels, stride in zip(reversed(widths), reversed(STRIDES), strict=True):
            self.up.append(_Up(2 * channels + below, channels, stride))
            below = channels
        self.head = nn.Conv3d(below, 1, 3, padding=1)

    def forward(
        self,
        context: Tensor,
        recent: Tensor,
        lead: Tensor,
        cycle: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Predict one volume ``(b, 1, z, y, x)`` from ``recent``, ``(b, context, z, y, x)``."""
        del context, lead, cycle
        x, maps = recent, []
        for down in self.down:
            x = down(x)
            maps.append(x)
        x = x[:, :0]
        for up, skip in zip(self.up, reversed(maps), strict=True):
            x = up(torch.cat([skip, x, self._noise(skip, generator)], 1))
        return self.head(x).float()  # type: ignore[no-any-return]

    def _noise(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None:
            return torch.zeros_like(like)
        return self.noise * randn_like(like, generator)


class SimpleDiscriminator(nn.Module):
    """Discriminator of a clip of past frames and one more, all as channels."""

    def __init__(self, frames: int = 6) -> None:
        super().__init__()
        widths = (frames, 2 * frames, 3 * frames, 4 * frames, 4 * frames)
        strides = ((1, 4, 4), (1, 4, 4), (2, 2, 2), (2, 2, 2), (2, 2, 2))
        self.layers = nn.ModuleList(
            nn.Conv3d(before, after, 3, stride=stride, padding=1)
            for before, after, stride in zip((frames, *widths), widths, strides, strict=False)
        )
        self.logit = nn.Linear(widths[-1], 1)

    def forward(self, frames: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return one logit for each ``(t, z, y, x)``; with a generator, with dropout of 0.3."""
        x = frames
        for number, layer in enumerate(self.layers):
            x = functional.leaky_relu(layer(x), 0.3)
            if number < len(self.layers) - 1:
                x = dropout(x, 0.3, generator)
        # The mean, where the original flattens, so that any size works.
        return self.logit(x.mean((2, 3, 4)))  # type: ignore[no-any-return]


class _Down(nn.Sequential):
    def __init__(self, before: int, after: int, stride: tuple[int, int, int]) -> None:
        super().__init__(nn.Conv3d(before, after, 3, stride, padding=1), nn.PReLU(after))


class _Up(nn.Sequential):
    def __init__(self, before: int, after: int, stride: tuple[int, int, int]) -> None:
        rest = (stride[0] - 1, stride[1] - 1, stride[2] - 1)
        layer = nn.ConvTranspose3d(before, after, 3, stride, padding=1, output_padding=rest)
        super().__init__(layer, nn.PReLU(after))
