"""Generator, discriminator and encoder of brain slices.

Images are ``(n, 1, y, x)`` between 0 and 1; ``conditions`` are ``(n, 4)``
(`napari_mrgen.data.slices.condition_vectors`).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.engine.device import device_of
from napari_mrgen.families.dcgan.config import DcganConfig
from napari_mrgen.families.dcgan.published import PublishedDiscriminator, PublishedGenerator

TOGETHER = 8
"""Images in a batch of sampling, always as many: sums in batches of another size differ in their
last digit, and a sample must not depend on how many are asked for."""
START = 4
"""Width of the coarsest features."""
MEAN, CONTRAST = 0.25, 4.0
"""Offset and scale that bring intensities to about zero mean and unit variance."""
DARK = -1.0
"""Logit of the untrained generator: most of a slice is background."""
LATER = 2
"""Levels that progressive growing may leave out at first; they start as the identity."""
WAVES = 4
"""Harmonics that encode the level of a slice."""


def generator_networks(config: DcganConfig) -> dict[str, nn.Module]:
    """Build the networks of a model file; the config holds the size of the images."""
    published = config.network == "published"
    return {"generator": PublishedGenerator(config) if published else SliceGenerator(config)}


def discriminator(config: DcganConfig) -> nn.Module:
    published = config.network == "published"
    return PublishedDiscriminator(config) if published else SliceDiscriminator(config)


def widths(config: DcganConfig) -> list[int]:
    """Return the channels of the features, from `START` up to half the size of the images."""
    levels = int(math.log2(config.size // (2 * START))) + 1
    factors = [min(config.widest, 2 ** (levels - 1 - level)) for level in range(levels)]
    return [config.width * factor for factor in factors]


class Condition(nn.Module):
    """Features of the conditions of a slice."""

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        self.kind = config.condition
        self.size = {"none": 0, "level": 2 * WAVES, "level, age, sex": 2 * WAVES + 3}[self.kind]

    def forward(self, conditions: Tensor) -> Tensor:
        """Map ``(n, 4)`` to ``(n, size)``."""
        waves = torch.arange(1, WAVES + 1, device=conditions.device) * (math.pi * conditions[:, :1])
        features = [torch.cos(waves), torch.sin(waves), 2 * conditions[:, 1:2], conditions[:, 2:]]
        return torch.cat(features, 1)[:, : self.size]


class SliceGenerator(nn.Module):
    """Generator that adds detail, level by level, to an upsampled image.

    Each level adds its image, at twice the resolution of its features, to the upsampled image of
    the level before. A level that has not learned yet changes nothing, so training grows from
    coarse to fine without a break.

    References
    ----------
    Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020.
    """

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        channels = widths(config)
        self.latent, width = config.latent, config.modulation_width
        self.condition = Condition(config)
        self.mix = nn.Sequential(
            nn.Linear(self.latent + self.condition.size, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
        )
        self.start = nn.Linear(width, channels[0] * START * START)
        self.blocks = nn.ModuleList(UpBlock(*pair, width) for pair in pairwise(channels))
        heads = [Head(count) for count in channels]
        self.heads = nn.ModuleList(heads)
        start_as_he(self.mix[0], self.mix[2], self.start)
        for head in heads[-LATER:]:
            start_at_zero(head.last)

    def forward(self, noise: Tensor, conditions: Tensor, size: int) -> Tensor:
        """Return slices ``(n, 1, size, size)`` of noise ``(n, latent)``."""
        modulation = self.mix(torch.cat([noise, self.condition(conditions)], 1))
        x = self.start(modulation).view(len(noise), -1, START, START)
        image = self.heads[0](x)
        for level, block in enumerate(self.blocks, 1):
            if image.shape[-1] == size:
                break
            x = block(x, modulation)
            image = _double(image) + self.heads[level](x)
        return torch.sigmoid(image + DARK)


class Head(nn.Module):
    """Image of a level, at twice the resolution of its features, where few channels suffice."""

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
    """Features of an image at half its resolution, computed with few channels."""

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
    """Multi-resolution feature extractor: each level adds to the features of the finer ones.

    With ``starts_coarse``, the levels that progressive growing leaves out at first start at zero.
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
    """Projection discriminator of slices, conditioned as the generator.

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
        self.logit = nn.Linear(deepest, 1)
        self.projection = nn.Linear(self.condition.size, deepest) if self.condition.size else None
        start_as_he(self.last, self.features)

    def forward(
        self, images: Tensor, conditions: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return logits ``(n,)`` of images ``(n, 1, y, x)``.

        ``generator`` is not used: there is no dropout.
        """
        del generator
        x = self.last(batch_deviation(self.trunk(images)))
        features = self.features(functional.leaky_relu(x, 0.2).flatten(1))
        features = functional.leaky_relu(features, 0.2)
        logit = self.logit(features)[:, 0]
        if self.projection is not None:
            match = features * self.projection(self.condition(conditions))
            logit = logit + match.sum(1) / math.sqrt(match.shape[1])
        return logit  # type: ignore[no-any-return]


class SliceEncoder(nn.Module):
    """Variational encoder from slices to latents; used in training only."""

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        self.trunk = Trunk(config, starts_coarse=True)
        self.latent = nn.Linear(widths(config)[0] * START * START, 2 * config.latent)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the latent, each ``(n, latent)``."""
        mean, spread = self.latent(self.trunk(images).flatten(1)).chunk(2, dim=1)
        return mean, spread - 2  # A small variance from the start gives the generator a signal.


@torch.no_grad()
def sample_images(generator: nn.Module, noise: Tensor, conditions: Tensor, size: int) -> Tensor:
    """Return images ``(n, size, size)`` of noise ``(n, latent)``, between 0 and 1, on the CPU."""
    device = device_of(generator)
    batches = []
    for start in range(0, len(noise), TOGETHER):
        rows = torch.arange(start, start + TOGETHER).clamp(max=len(noise) - 1)
        images = generator(noise[rows].to(device), conditions[rows].to(device), size)
        batches.append(images[: len(noise) - start, 0].float().cpu())
    return torch.cat(batches).clamp(0, 1)


def slerp(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Interpolate spherically between noise vectors ``(n, latent)``, which keeps their length."""
    unit = (v / v.norm(dim=1, keepdim=True) for v in (start, end))
    cosine = torch.mul(*unit).sum(1, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = torch.acos(cosine)
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / angle.sin()


class UpBlock(nn.Module):
    """Residual block that doubles the resolution, modulated by a vector (FiLM).

    It interpolates in place of transposed convolutions, which leave a checkerboard. As the vector
    comes from noise, each resolution contributes to the diversity.
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
        h = functional.leaky_relu(modulate(x, self.films[0](condition)), 0.2)
        h = self.first(functional.interpolate(h, scale_factor=2.0))
        h = self.second(functional.leaky_relu(modulate(h, self.films[1](condition)), 0.2))
        short = functional.interpolate(self.shortcut(x), scale_factor=2.0)
        return (h + short) * math.sqrt(0.5)  # type: ignore[no-any-return]


class DownBlock(nn.Module):
    """Residual block that halves the resolution."""

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


def modulate(x: Tensor, film: Tensor) -> Tensor:
    """Normalise each pixel of ``(n, c, y, x)`` to unit length, then scale and shift its channels.

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
    """Append a channel with the mean standard deviation of features over groups of the batch.

    It lets a discriminator penalise samples that lack diversity (Karras et al., "Progressive
    growing of GANs", ICLR 2018). Samples of a group lie ``n / group`` apart in the batch.
    """
    n, _, height, width = x.shape
    size = math.gcd(n, group)
    grouped = x.float().reshape(size, n // size, -1)
    deviation = (grouped.var(0, correction=0) + 1e-8).sqrt().mean(1)
    channel = deviation.repeat(size).to(x).view(n, 1, 1, 1)
    return torch.cat([x, channel.expand(n, 1, height, width)], 1)


def start_as_he(*layers: nn.Module) -> None:
    """Initialise layers before a leaky ReLU so that they keep the variance of their input.

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


def _double(image: Tensor) -> Tensor:
    return functional.interpolate(image, scale_factor=2.0, mode="bilinear", align_corners=False)


def start_at_zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
