"""Discriminators that judge patches, and their losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches of ``(n, c, y, x)``; frames as channels make it spatio-temporal.

    References
    ----------
    Isola et al., "Image-to-image translation with conditional adversarial networks", CVPR 2017;
    Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018.
    """

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        for before, after in zip((channels, *widths), widths, strict=False):
            layers += [
                spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1)),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))

    def forward(self, frames: Tensor) -> Tensor:
        """Return one logit a patch: ``(n, 1, y / 8, x / 8)``."""
        return self.layers(frames)  # type: ignore[no-any-return]


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Loss of a discriminator from its logits (Lim and Ye, "Geometric GAN", 2017)."""
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()


def bce_loss(real: Tensor, fake: Tensor, certainty: float = 1.0) -> Tensor:
    """Loss of a discriminator from its logits: binary cross-entropy (Goodfellow et al., 2014).

    Real images count as ``certainty``, so that a discriminator need not be too sure of them.
    """
    wanted = torch.full_like(real, certainty)
    true = functional.binary_cross_entropy_with_logits(real, wanted)
    return true + functional.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


def gradient_penalty(logits: Tensor, inputs: Tensor) -> Tensor:
    """R1: mean squared gradient of the logits at real inputs (Mescheder et al., ICML 2018)."""
    (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()
