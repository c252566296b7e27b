"""Losses by name, and mixtures of two."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn import functional

from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.metrics.images import psnr, ssim

_SURE = 1e-4
"""How near to 0 and 1 an intensity may be as a probability."""


def similarity_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """One minus the mean SSIM of the frames."""
    return 1 - ssim(predicted, truth).mean()


def noise_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """Minus the PSNR of each series, in dB."""
    return -psnr(predicted, truth, dims=3).mean()


def entropy_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of intensities taken for probabilities."""
    sure = predicted.clamp(_SURE, 1 - _SURE)
    return functional.binary_cross_entropy(sure, truth.clamp(0, 1))


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "ssim": similarity_loss,
    "psnr": noise_loss,
    "bce": entropy_loss,
}


def total_loss(config: ReconstructionConfig, predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the loss of series ``(b, 1, t, y, x)``, with the second one where there is one."""
    loss = LOSSES[config.loss](predicted, truth)
    if config.second_loss == "none":
        return loss
    return loss + config.second_weight * LOSSES[config.second_loss](predicted, truth)
