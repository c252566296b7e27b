"""How much a synthetic volume is like the real one: in the brain, and over all of it.

Volumes are ``(z, y, x)`` tensors in which 1 stands for the 99.5th percentile of the real volume's
head, so the data range is 1. More than half of a head scan is air, which is easy: the metrics in
the brain come first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_mrgen.metrics.images import SSIM_WINDOW, average_similarity, mse, psnr, ssim_map
from napari_mrgen.metrics.sets import histogram_distance

TISSUES = 3
"""Classes of intensity in a brain: of a T1w or T2w image roughly fluid, grey and white matter."""
_OTSU_BINS = 256

Metrics = dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """A synthetic volume beside the real one, to be shown; all ``(z, y, x)``, 0 to 1."""

    subject: str
    title: str
    """Contrast of the synthetic volume."""
    source: Tensor
    synthetic: Tensor
    real: Tensor
    mask: Tensor
    spacing: tuple[float, float, float]
    """Voxel size along ``z, y, x`` in mm."""


def compare_volumes(synthetic: Tensor, real: Tensor, mask: Tensor) -> Metrics:
    """Return the metrics of one volume.

    ==================== =====================================================================
    PSNR in brain        dB; mean squared error over the mask, data range 1
    SSIM in brain        mean over the mask of the 3-D similarity: Gaussian window of 11 x 11 x 11
                         voxels, sigma 1.5
    NRMSE in brain       root of the mean squared error over that of the mean square of the real
                         volume, both over the mask
    histogram            distance of the intensities in the mask, `histogram_distance`
    volume agreement     1 less half the summed differences of the tissues' shares; 1 is equal
    tissue Dice          overlap of each tissue with the real one, mean over the three
    PSNR, SSIM, NRMSE    the first three over all voxels
    ==================== =====================================================================

    A volume that is thinner than the window has no SSIM.
    """
    inside = mask.bool()
    # The map takes by far the longest, and both metrics are means of it.
    similarity = ssim_map(synthetic, real, dims=3) if min(real.shape) >= SSIM_WINDOW else None
    return {
        **_errors(synthetic, real, inside, similarity, " in brain"),
        "histogram": histogram_distance(synthetic[inside], real[inside]),
        **compare_tissues(synthetic[inside], real[inside]),
        **_errors(synthetic, real, None, similarity, ""),
    }


def compare_tissues(synthetic: Tensor, real: Tensor) -> Metrics:
    """Compare classes of intensity of two lists of voxels ``(n,)``, voxel by voxel.

    The limits between the classes are taken from the real voxels (Otsu, three classes) and hold for
    both: contrast that is lost counts as tissue that is lost.
    """
    limits = torch.tensor(_otsu(real))
    classes, true_classes = (
        torch.bucketize(voxels.float(), limits) for voxels in (synthetic, real)
    )
    counts = [
        torch.bincount(values, minlength=TISSUES).double() for values in (classes, true_classes)
    ]
    common = torch.bincount(true_classes[classes == true_classes], minlength=TISSUES)
    difference = (counts[0] - counts[1]).abs().sum() / len(real)
    return {
        "volume agreement": float(1 - difference / 2),
        "tissue Dice": float((2 * common / (counts[0] + counts[1])).nanmean()),
    }


def nrmse(synthetic: Tensor, real: Tensor, mask: Tensor | None = None) -> Tensor:
    """Root mean squared error over the root mean square of the real volume, inside ``mask``."""
    nothing = torch.zeros_like(real)
    return (mse(synthetic, real, mask, dims=3) / mse(real, nothing, mask, dims=3)).sqrt()


def _errors(
    synthetic: Tensor, real: Tensor, mask: Tensor | None, similarity: Tensor | None, where: str
) -> Metrics:
    metrics = {"PSNR": psnr(synthetic, real, mask=mask, dims=3)}
    if similarity is not None:
        metrics["SSIM"] = average_similarity(similarity, mask, dims=3)
    metrics["NRMSE"] = nrmse(synthetic, real, mask)
    return {f"{name}{where}": float(value) for name, value in metrics.items()}


def _otsu(voxels: Tensor) -> tuple[float, ...]:
    """Return the limits between the classes, in ascending order."""
    import SimpleITK

    otsu = SimpleITK.OtsuMultipleThresholdsImageFilter()
    otsu.SetNumberOfThresholds(TISSUES - 1)
    otsu.SetNumberOfHistogramBins(_OTSU_BINS)
    otsu.Execute(SimpleITK.GetImageFromArray(voxels.float().cpu().numpy()[None]))
    return tuple(otsu.GetThresholds())
