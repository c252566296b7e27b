"""What makes a translated volume right; all volumes ``(b, 1, z, y, x)``, scaled to 0..1."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_mrgen.engine.task import Batch
from napari_mrgen.families.cyclegan.config import CycleGanConfig
from napari_mrgen.metrics.images import SSIM_WINDOW, ssim_map
from napari_mrgen.nn.losses import charbonnier

PAPERS = 2.0
"""How much larger differences are in the papers, where intensities run from -1 to 1."""
ROUNDED = 0.05
"""Differences of pairs below this count by their square, as they do in PSNR."""

_GAMMA, _GAIN, _SLOPE = 0.1, 0.05, 0.03
"""Most that is varied: the exponent's logarithm, the brightness, and its change to each side."""


def paired_loss(fake: Tensor, truth: Tensor, batch: Batch, config: CycleGanConfig) -> Tensor:
    """Difference from the true volume, by voxel and by structure, mostly in the brain.

    Samples of a batch that are no pairs do not count.
    """
    paired = batch["paired"].view(-1, 1, 1, 1, 1)
    weight = paired * (config.background + (1 - config.background) * batch["mask"])
    width = 0.0 if config.network == "published" else ROUNDED
    loss = PAPERS * charbonnier(fake - truth, width, weight)
    if config.ssim_weight and min(fake.shape[2:]) >= SSIM_WINDOW:
        edge = SSIM_WINDOW // 2
        inner = (..., *(slice(edge, -edge),) * 3)
        missing = (1 - ssim_map(fake, truth, dims=3)) * weight[inner]
        missed = missing.sum() / weight[inner].sum().clamp(min=1)
        loss = loss + config.ssim_weight * missed
    return loss


def difference(one: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference, on the papers' range of intensities."""
    return PAPERS * (one - other).abs().mean()


def varied(volume: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Vary contrast, brightness and shading gently, as scanners do; 0 stays 0.

    ``strength`` 0 leaves volumes as they are, 1 is the usual.
    """
    if strength == 0:
        return volume
    draws = torch.rand(5, len(volume), generator=generator, device=generator.device)
    gamma, gain, *slopes = (strength * (2 * draws - 1)).to(volume).view(5, -1, 1, 1, 1, 1)
    shading = 1 + _GAIN * gain
    for axis, slope in enumerate(slopes, start=2):
        place = torch.linspace(-1, 1, volume.shape[axis], device=volume.device)
        shading = shading + _SLOPE * slope * place.view(-1, *[1] * (4 - axis))
    exponent = (_GAMMA * gamma).exp()
    changed: Tensor = volume.clamp(min=0).pow(exponent) * shading
    return changed
