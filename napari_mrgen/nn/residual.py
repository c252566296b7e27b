"""Residual blocks that change the resolution, without transposed convolutions: no checkerboard."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class UpBlock(nn.Module):
    """Doubles the resolution: two convolutions beside a shortcut, steered by a vector (FiLM).

    Where the vector comes from noise, each resolution gets its share of the variety.
    """

    def __init__(self, before: int, after: int, condition: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1, bias=False)
        self.films = nn.ModuleList(nn.Linear(condition, 2 * size) for size in (before, after))
        start_as_he(self.first, self.second, self.shortcut)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map ``(n, before, y, x)`` and ``(n, condition)`` to ``(n, after, 2 y, 2 x)``."""
        h = functional.leaky_relu(steer(x, self.films[0](condition)), 0.2)
        h = self.first(functional.interpolate(h, scale_factor=2.0))
        h = self.second(functional.leaky_relu(steer(h, self.films[1](condition)), 0.2))
        short = functional.interpolate(self.shortcut(x), scale_factor=2.0)
        return (h + short) * math.sqrt(0.5)  # type: ignore[no-any-return]


class DownBlock(nn.Module):
    """Halves the resolution: two convolutions beside a shortcut."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, before, 3, padding=1)
        self.second = nn.Conv2d(before, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1, bias=False)
        start_as_he(self.first, self.second, self.shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, before, y, x)`` to ``(n, after, y / 2, x / 2)``."""
        h = functional.leaky_relu(self.first(x), 0.2)
        h = functional.avg_pool2d(functional.leaky_relu(self.second(h), 0.2), 2)
        return (h + self.shortcut(functional.avg_pool2d(x, 2))) * math.sqrt(0.5)  # type: ignore[no-any-return]


def steer(x: Tensor, film: Tensor) -> Tensor:
    """Bring each pixel of ``(n, c, y, x)`` to unit length, then scale and shift its channels.

    ``film`` is ``(n, 2 c)``.

    References
    ----------
    Karras et al., "Progressive growing of GANs", ICLR 2018 (the normalisation); Perez et al.,
    "FiLM: visual reasoning with a general conditioning layer", AAAI 2018.
    """
    scale, shift = film[:, :, None, None].chunk(2, dim=1)
    unit = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6)
    return unit * (1 + scale) + shift


def batch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """Append a channel with the mean deviation of features over groups of the batch.

    A discriminator sees by it that generated images are too much alike (Karras et al., "Progressive
    growing of GANs", ICLR 2018). Samples of a group lie ``n / group`` apart in the batch.
    """
    n, _, height, width = x.shape
    size = math.gcd(n, group)
    grouped = x.float().reshape(size, n // size, -1)
    deviation = (grouped.var(0, correction=0) + 1e-8).sqrt().mean(1)
    told = deviation.repeat(size).to(x).view(n, 1, 1, 1)
    return torch.cat([x, told.expand(n, 1, height, width)], 1)


def start_as_he(*layers: nn.Module) -> None:
    """Let layers before a leaky rectifier keep the variance of what they are given.

    References
    ----------
    He et al., "Delving deep into rectifiers", ICCV 2015.
    """
    for layer in layers:
        for parameter in layer.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, 0.2)
            else:
                nn.init.zeros_(parameter)
