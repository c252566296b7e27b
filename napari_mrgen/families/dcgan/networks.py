"""Networks that make brain slices from noise, and those that tell them from real ones.

Images travel as ``(n, 1, y, x)`` between 0 and 1; ``told`` ``(n, 4)`` is what is known of a slice
(`napari_mrgen.data.slices.told_of`).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.families.dcgan.config import DcganConfig
from napari_mrgen.families.dcgan.published import PublishedDiscriminator, PublishedGenerator
from napari_mrgen.nn.residual import DownBlock, UpBlock, batch_deviation, start_as_he

START = 4
"""Width of the coarsest features."""
MEAN, CONTRAST = 0.25, 4.0
"""What brings intensities to about zero mean and unit variance."""
DARK = -1.0
"""Where the generator starts: most of a slice is background."""
LATER = 2
"""Levels that training may leave out at first; they start by changing nothing."""
WAVES = 4
"""Harmonics by which the level of a slice is told."""


def networks(config: DcganConfig, shape: tuple[int, ...]) -> dict[str, nn.Module]:
    """Build what a model file holds; the size of its images stands in the config."""
    del shape
    published = config.network == "dcgan"
    return {"generator": PublishedGenerator(config) if published else SliceGenerator(config)}


def discriminator(config: DcganConfig) -> nn.Module:
    published = config.network == "dcgan"
    return PublishedDiscriminator(config) if published else SliceDiscriminator(config)


def widths(config: DcganConfig) -> list[int]:
    """Return the channels of the features, from `START` up to half the size of the images."""
    levels = int(math.log2(config.size // (2 * START))) + 1
    factors = [min(config.widest, 2 ** (levels - 1 - level)) for level in range(levels)]
    return [config.width * factor for factor in factors]


class Condition(nn.Module):
    """Turns what is known of a slice into features that networks can use."""

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        self.kind = config.condition
        self.size = {"none": 0, "level": 2 * WAVES, "level, age, sex": 2 * WAVES + 3}[self.kind]

    def forward(self, told: Tensor) -> Tensor:
        """Map ``(n, 4)`` to ``(n, size)``."""
        waves = torch.arange(1, WAVES + 1, device=told.device) * (math.pi * told[:, :1])
        features = [torch.cos(waves), torch.sin(waves), 2 * told[:, 1:2], told[:, 2:]]
        return torch.cat(features, 1)[:, : self.size]


class SliceGenerator(nn.Module):
    """Makes slices by adding detail to what the next coarser resolution has drawn.

    Each level adds its image, at twice the resolution of its features, to the enlarged image of the
    level before. So a level that has not learned yet changes nothing, and training may begin coarse
    without a break where it goes on to a finer one.

    References
    ----------
    Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020.
    """

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        channels = widths(config)
        self.latent, steering = config.latent, config.steering
        self.condition = Condition(config)
        self.mix = nn.Sequential(
            nn.Linear(self.latent + self.condition.size, steering),
            nn.LeakyReLU(0.2),
            nn.Linear(steering, steering),
            nn.LeakyReLU(0.2),
        )
        self.start = nn.Linear(steering, channels[0] * START * START)
        self.blocks = nn.ModuleList(UpBlock(*pair, steering) for pair in pairwise(channels))
        heads = [Head(width) for width in channels]
        self.heads = nn.ModuleList(heads)
        start_as_he(self.mix[0], self.mix[2], self.start)
        for head in heads[-LATER:]:
            start_at_zero(head.last)

    def forward(self, noise: Tensor, told: Tensor, size: int) -> Tensor:
        """Draw slices ``(n, 1, size, size)`` from noise ``(n, latent)``."""
        steering = self.mix(torch.cat([noise, self.condition(told)], 1))
        x = self.start(steering).view(len(noise), -1, START, START)
        image = self.heads[0](x)
        for level, block in enumerate(self.blocks, 1):
            if image.shape[-1] == size:
                break
            x = block(x, steering)
            image = _double(image) + self.heads[level](x)
        return torch.sigmoid(image + DARK)


class Head(nn.Module):
    """Draws at twice the resolution of features, where few channels are enough."""

    def __init__(self, width: int) -> None:
        super().__init__()
        few = max(4, width // 4)
        self.first = nn.Conv2d(width, few, 3, padding=1)
        self.second = nn.Conv2d(few, few, 3, padding=1)
        self.last = nn.Conv2d(few, 1, 3, padding=1)
        start_as_he(self.first, self.second)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, width, y, x)`` to ``(n, 1, 2 y, 2 x)``."""
        x = functional.leaky_relu(self.first(functional.leaky_relu(x, 0.2)), 0.2)
        x = functional.leaky_relu(self.second(_double(x)), 0.2)
        return self.last(x).float()  # type: ignore[no-any-return]


class Stem(nn.Module):
    """Looks at an image with few channels, and hands on features at half its resolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        few = max(4, width // 4)
        self.first = nn.Conv2d(1, few, 3, padding=1)
        self.second = nn.Conv2d(4 * few, width, 3, padding=1)
        start_as_he(self.first, self.second)

    def forward(self, image: Tensor) -> Tensor:
        """Map ``(n, 1, y, x)`` to ``(n, width, y / 2, x / 2)``."""
        x = functional.leaky_relu(self.first(image), 0.2)
        return self.second(functional.pixel_unshuffle(x, 2))  # type: ignore[no-any-return]


class Trunk(nn.Module):
    """Sees a slice at every resolution: each level beside what the finer ones have found.

    With ``starts_coarse``, the levels that training leaves out at first find nothing yet.
    """

    def __init__(self, config: DcganConfig, *, starts_coarse: bool) -> None:
        super().__init__()
        channels = widths(config)
        self.stems = nn.ModuleList(Stem(width) for width in channels)
        blocks = [DownBlock(fine, coarse) for coarse, fine in pairwise(channels)]
        self.blocks = nn.ModuleList(blocks)
        for block in blocks[-LATER:] if starts_coarse else ():
            start_at_zero(block.second)
            start_at_zero(block.shortcut)

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(n, 1, y, x)`` of any size that training uses to ``(n, c, START, START)``."""
        image = CONTRAST * (images - MEAN)
        level = len(self.stems) - 1
        while image.shape[-1] < 2 * START * 2**level:
            level -= 1
        x = self.stems[level](image)
        for below in range(level - 1, -1, -1):
            image = functional.avg_pool2d(image, 2)
            x = self.blocks[below](functional.leaky_relu(x, 0.2)) + self.stems[below](image)
        return functional.leaky_relu(x, 0.2)


class SliceDiscriminator(nn.Module):
    """Tells real slices from drawn ones, given what is known of them.

    References
    ----------
    Miyato and Koyama, "cGANs with projection discriminator", ICLR 2018.
    """

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        deepest = widths(config)[0]
        self.condition = Condition(config)
        self.trunk = Trunk(config, starts_coarse=False)
        self.last = nn.Conv2d(deepest + 1, deepest, 3, padding=1)
        self.features = nn.Linear(deepest * START * START, deepest)
        self.opinion = nn.Linear(deepest, 1)
        self.told = nn.Linear(self.condition.size, deepest) if self.condition.size else None
        start_as_he(self.last, self.features)

    def forward(
        self, images: Tensor, told: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return logits ``(n,)`` of images ``(n, 1, y, x)``.

        Nothing is drawn from ``generator``: there is no dropout.
        """
        del generator
        x = self.last(batch_deviation(self.trunk(images)))
        found = self.features(functional.leaky_relu(x, 0.2).flatten(1))
        found = functional.leaky_relu(found, 0.2)
        logit = self.opinion(found)[:, 0]
        if self.told is not None:
            match = found * self.told(self.condition(told))
            logit = logit + match.sum(1) / math.sqrt(match.shape[1])
        return logit  # type: ignore[no-any-return]


class SliceEncoder(nn.Module):
    """Finds the noise that a real slice could have been drawn from; needed in training alone."""

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        self.trunk = Trunk(config, starts_coarse=True)
        self.found = nn.Linear(widths(config)[0] * START * START, 2 * config.latent)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of the noise, each ``(n, latent)``."""
        mean, spread = self.found(self.trunk(images).flatten(1)).chunk(2, dim=1)
        return mean, spread - 2  # Precise from the start, so that there is something to learn from.


def _double(image: Tensor) -> Tensor:
    return functional.interpolate(image, scale_factor=2.0, mode="bilinear", align_corners=False)


def start_at_zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
