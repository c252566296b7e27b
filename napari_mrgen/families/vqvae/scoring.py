"""Scores of reconstructed and of sampled slices, beside baselines."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image, features
from torch import Tensor
from torch.nn import functional

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.slice_volumes import real_set
from napari_mrgen.data.slices import SliceSet
from napari_mrgen.engine.device import device_of
from napari_mrgen.engine.task import Draws, Networks
from napari_mrgen.families.vqvae.config import VqVaeConfig
from napari_mrgen.families.vqvae.networks import codebook, decode, encode
from napari_mrgen.families.vqvae.quantization import perplexity
from napari_mrgen.families.vqvae.sampling import sample_codes
from napari_mrgen.families.vqvae.training import slice_data
from napari_mrgen.metrics.distributions import ImageSet
from napari_mrgen.metrics.images import head_mask, psnr, ssim
from napari_mrgen.metrics.scoreboard import Score
from napari_mrgen.metrics.sets import Sets, score_sets

RECONSTRUCTION = "reconstruction"
PRIORS = {"transformer": "masked transformer", "generator": "DCGAN prior"}
"""Scoreboard rows of samples, by the network of the prior."""
LEVEL_MEAN = "mean image of the level"
"""Baseline of single slices, by subject; `mean image` is that of a set."""
BANDS = 10
"""Intervals of the level, each with its own mean image."""
_TOGETHER = 32


def score_slices(networks: Networks, trained: VqVaeConfig, inputs: Inputs) -> Iterator[Score]:
    """Yield the metrics of reconstructions by subject, then those of sets of slices."""
    data = slice_data(trained, inputs)
    yield from score_reconstruction(networks, trained, data.train_slices, data.test_slices)
    result = slice_sets(networks, trained, inputs)
    yield from score_sets(result.generated, result.held_out, result.train)


def slice_sets(networks: Networks, trained: VqVaeConfig, inputs: Inputs) -> Sets:
    """Sample as many slices as are held out, and reconstruct the held-out ones."""
    data = slice_data(trained, inputs)
    held_out, chosen = real_set(data.test_slices)
    generated = {}
    for network, name in PRIORS.items():
        if network in networks:
            samples = _sample(networks, trained, data.test_slices.conditions[chosen])
            generated[name] = ImageSet(samples, levels=held_out.levels)
    reconstructions = reconstruct(networks, held_out.images)
    generated[RECONSTRUCTION] = ImageSet(reconstructions, held_out.subjects, held_out.levels)
    train = real_set(data.train_slices)[0] if len(data.train_slices) else None
    return Sets(generated, held_out, train)


def score_reconstruction(
    networks: Networks, trained: VqVaeConfig, train: SliceSet, test: SliceSet
) -> Iterator[Score]:
    """Yield scores of the model, of JPEG 2000 in as many bytes, and of the level's mean image."""
    usage = code_usage(networks, test)
    means = LevelMeans(train) if len(train) else None
    size = trained.side**2 * math.log2(trained.codes) / 8
    for subject in dict.fromkeys(test.subjects):
        indices = [index for index, name in enumerate(test.subjects) if name == subject]
        images = test.images(indices)
        metrics = compare(reconstruct(networks, images), images)
        yield Score(RECONSTRUCTION, subject, {**metrics, **usage})
        compressed = [c for image in images if (c := jpeg2000(image, int(size))) is not None]
        if len(compressed) == len(images):
            yield Score("JPEG 2000, same bytes", subject, compare(torch.stack(compressed), images))
        if means is not None:
            yield Score(LEVEL_MEAN, subject, compare(means(test.levels[indices]), images))


def reconstruct(networks: Networks, images: Tensor) -> Tensor:
    """Return slices ``(n, y, x)`` encoded and decoded."""
    device = device_of(networks["encoder"])
    parts = (
        decode(networks, encode(networks, part[:, None].to(device)))[:, 0].cpu()
        for part in torch.split(images, _TOGETHER)
    )
    return torch.cat(list(parts))


def code_usage(networks: Networks, test: SliceSet) -> dict[str, float]:
    """Return the share of codes that occur, and their perplexity, in all and within heads.

    More than half of all codes stand for the background.
    """
    book = codebook(networks)
    everywhere, inside = torch.zeros(2, book.count)
    for start in range(0, len(test), _TOGETHER):
        images = test.images(range(start, min(start + _TOGETHER, len(test))))
        codes = encode(networks, images[:, None].to(book.usage.device)).cpu()
        factor = images.shape[-1] // codes.shape[-1]
        head = functional.max_pool2d(head_mask(images).float(), factor) > 0
        everywhere += torch.bincount(codes.flatten(), minlength=book.count)
        inside += torch.bincount(codes[head], minlength=book.count)
    return {
        "codes used": float((everywhere > 0).float().mean()),
        "perplexity": float(perplexity(everywhere)),
        "perplexity in head": float(perplexity(inside)),
    }


def compare(prediction: Tensor, images: Tensor) -> dict[str, float]:
    """Return mean metrics of slices ``(n, y, x)`` against the real ones."""
    return {
        "SSIM": float(ssim(prediction, images).mean()),
        "SSIM in head": float(ssim(prediction, images, mask=head_mask(images)).nanmean()),
        "PSNR": float(psnr(prediction, images).mean()),
    }


def jpeg2000(image: Tensor, size: int) -> Tensor | None:
    """Return a slice ``(y, x)`` compressed by JPEG 2000 to at most ``size`` bytes, if possible."""
    if not features.check("jpg_2000"):
        return None
    picture = Image.fromarray((image.clamp(0, 1) * 255).round().byte().numpy())
    for step in range(24):
        file = io.BytesIO()
        picture.save(
            file,
            "JPEG2000",
            no_jp2=True,
            irreversible=True,
            quality_mode="rates",
            quality_layers=[image.numel() / size * 1.03**step],
        )
        if file.tell() <= size:
            return torch.from_numpy(np.array(Image.open(file), np.float32) / 255)
    return None


class LevelMeans:
    """The mean of the training slices near a level of the brain."""

    def __init__(self, train: SliceSet) -> None:
        sums, seen = torch.zeros(BANDS, train.spec.size, train.spec.size), torch.zeros(BANDS)
        for index, band in enumerate(_bands(train.levels).tolist()):
            sums[band] += train.images([index])[0]
            seen[band] += 1
        means = sums / seen.clamp(min=1)[:, None, None]
        self._means = torch.where(seen[:, None, None] > 0, means, sums.sum(0) / seen.sum())

    def __call__(self, levels: Tensor) -> Tensor:
        return self._means[_bands(levels)]


def _bands(levels: Tensor) -> Tensor:
    return (levels * BANDS).long().clamp(0, BANDS - 1)


def _sample(networks: Networks, trained: VqVaeConfig, conditions: Tensor) -> Tensor:
    device = device_of(networks["encoder"])
    parts = []
    for start in range(0, len(conditions), _TOGETHER):
        part = conditions[start : start + _TOGETHER].to(device)
        draws = [Draws((trained.seed, "score", start + index)) for index in range(len(part))]
        codes = sample_codes(networks, part, draws, trained.side)
        parts.append(decode(networks, codes)[:, 0].cpu())
    return torch.cat(parts)
