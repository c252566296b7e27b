"""Patch discriminators, and the losses of GANs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from napari_mrgen.nn.volumes import PLANES, padded_to

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_POOLINGS = {2: nn.AvgPool2d, 3: nn.AvgPool3d}


class PatchDiscriminator(nn.Module):
    """Discriminator of overlapping patches of ``(n, c, y, x)``, or with 3 ``dims`` of volumes.

    Frames as channels make it spatio-temporal. Each level halves the resolution.

    References
    ----------
    Isola et al., "Image-to-image translation with conditional adversarial networks", CVPR 2017;
    Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018.
    """

    def __init__(self, channels: int, width: int = 32, levels: int = 3, dims: int = 2) -> None:
        super().__init__()
        convolution = _CONVOLUTIONS[dims]
        widths = [width * 2**level for level in range(levels)]
        layers: list[nn.Module] = []
        for before, after in zip([channels, *widths], widths, strict=False):
            layers += [
                spectral_norm(convolution(before, after, 4, stride=2, padding=1)),
                nn.LeakyReLU(0.2),
            ]
        head = spectral_norm(convolution(widths[-1], 1, 3, padding=1))
        self.layers = nn.Sequential(*layers, head)

    def forward(self, frames: Tensor) -> Tensor:
        """Return one logit a patch: ``(n, 1, y / 8, x / 8)`` with 3 levels."""
        return self.layers(frames)  # type: ignore[no-any-return]


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators at full resolution, at half, and so on.

    References
    ----------
    Wang et al., "High-resolution image synthesis and semantic manipulation with conditional GANs",
    CVPR 2018.
    """

    def __init__(
        self, channels: int, width: int = 32, *, levels: int = 3, scales: int = 2, dims: int = 2
    ) -> None:
        super().__init__()
        self.halve = _POOLINGS[dims](2)
        self.least = PLANES * 2 ** (levels + scales - 1)
        self.scales = nn.ModuleList(
            PatchDiscriminator(channels, width, levels, dims) for _ in range(scales)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the logits of each scale, the finest first; small images are padded."""
        logits = []
        images = padded_to(images, 1, self.least)
        for number, scale in enumerate(self.scales):
            images = self.halve(images) if number else images
            logits.append(scale(images))
        return logits


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the hinge loss of a discriminator (Lim and Ye, "Geometric GAN", 2017)."""
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()


def lsgan_loss(logits: Sequence[Tensor], target: float) -> Tensor:
    """Return the mean squared distance of logits from their target, averaged over scales.

    References
    ----------
    Mao et al., "Least squares generative adversarial networks", ICCV 2017.
    """
    return torch.stack([(scale - target).square().mean() for scale in logits]).mean()


def bce_loss(real: Tensor, fake: Tensor, real_label: float = 1.0) -> Tensor:
    """Return the cross-entropy loss of a discriminator (Goodfellow et al., 2014).

    ``real_label`` below 1 is one-sided label smoothing.
    """
    target = torch.full_like(real, real_label)
    loss = functional.binary_cross_entropy_with_logits(real, target)
    return loss + functional.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


def gradient_penalty(logits: Tensor, inputs: Tensor) -> Tensor:
    """Return R1, the mean squared gradient at real inputs (Mescheder et al., ICML 2018)."""
    (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()
