"""Augmentation of real and generated images alike, through which gradients flow (DiffAugment).

A discriminator that gets only augmented images cannot memorise a few hundred training images. All
randomness comes from the generator that is passed in.

References
----------
Zhao et al., "Differentiable augmentation for data-efficient GAN training", NeurIPS 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SHIFT, _HOLE = 0.125, 0.4
"""Largest shift, and width of the cutout, as shares of the image."""
_BRIGHTNESS, _CONTRAST = 0.1, 0.2
"""These are mild, since intensity distinguishes the tissues."""


def augment(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Augment images ``(n, c, y, x)`` between 0 and 1: intensity, translation and cutout.

    ``strength`` 0 leaves them unchanged, 1 is usual.
    """
    if strength == 0:
        return images
    draws = torch.rand(6, len(images), 1, 1, 1, generator=generator, device=generator.device)
    bright, contrast, *places = draws.to(images)
    mean = images.mean((1, 2, 3), keepdim=True)
    varied = (images - mean) * (1 + strength * _CONTRAST * (2 * contrast - 1)) + mean
    varied = varied + strength * _BRIGHTNESS * (bright - 0.5)
    shifted = _shift(varied, *(strength * _SHIFT * (2 * place - 1) for place in places[:2]))
    return shifted * _outside(images, strength * _HOLE, *places[2:])


def _shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Translate by whole pixels, given as shares of the image; new pixels are black."""
    n, c, height, width = images.shape
    y = torch.arange(height, device=images.device) - (down * height).round().long().view(n, 1)
    x = torch.arange(width, device=images.device) - (right * width).round().long().view(n, 1)
    padded = functional.pad(images, (1, 1, 1, 1))
    y, x = (y + 1).clamp(0, height + 1), (x + 1).clamp(0, width + 1)
    rows = padded.gather(2, y.view(n, 1, height, 1).expand(n, c, height, width + 2))
    return rows.gather(3, x.view(n, 1, 1, width).expand(n, c, height, width))


def _outside(images: Tensor, size: float, down: Tensor, right: Tensor) -> Tensor:
    """Return a mask ``(n, 1, y, x)``: 0 inside a square centred anywhere, 1 outside."""
    height, width = images.shape[-2:]
    y = (torch.arange(height, device=images.device) + 0.5).view(1, 1, height, 1) / height
    x = (torch.arange(width, device=images.device) + 0.5).view(1, 1, 1, width) / width
    inside = ((y - down).abs() < size / 2) & ((x - right).abs() < size / 2)
    return (~inside).to(images)
