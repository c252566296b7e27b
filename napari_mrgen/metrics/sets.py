"""Metrics of generated sets: fidelity, diversity and memorisation.

Each method has a set that is compared with held-out real slices, beside baseline sets: real
slices that were trained on (the upper bound), the mean image at each level, and blurred
real slices. `score_sets` lists the metrics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property

import torch
from torch import Tensor

from napari_mrgen.metrics.distributions import (
    ImageSet,
    Points,
    Sets,
    coverage,
    density,
    frechet,
    kid,
    kid_interval,
    precision,
    recall,
)
from napari_mrgen.metrics.features import Features, in_batches
from napari_mrgen.metrics.images import blur, spectral_distance
from napari_mrgen.metrics.matching import best_match, pair_similarity
from napari_mrgen.metrics.memorisation import NearCopyFinder
from napari_mrgen.metrics.scoreboard import WHOLE_SET, Score

__all__ = ["Features", "ImageSet", "Sets", "histogram_distance", "score_sets"]

CEILING = "real, trained on"
MOST = 2000
"""Most images of a set; more change little, and time grows with the square."""
_MOST_MATCHED = 160
"""Most images of a set that are matched."""
_LEVEL_WIDTH = 0.05
_BLUR = 1.5
"""Sigma of the blurred real slices, in pixels."""
_BINS = 256


def score_sets(
    generated: Mapping[str, ImageSet],
    held_out: ImageSet,
    train: ImageSet | None = None,
    seed: int = 0,
) -> Iterator[Score]:
    """Yield the metrics of each set, then those of the baselines.

    A metric that is undefined (for a single subject, or without training slices) is left out.

    ======================= ==================================================================
    KID x1000, low, high    distance to the held-out slices, `kid`, with the 95 % interval of a
                            bootstrap over subjects
    Frechet                 another distance, `frechet`
    precision, density      fidelity: share of the set that lies among real slices
    recall, coverage        share of the real slices that the set covers
    MS-SSIM (real)          mean similarity of random pairs of the set, and of held-out slices:
                            a higher value means less diversity
    best SSIM held-out,     similarity to the best match among equally many held-out and trained
    best SSIM trained       slices: a much higher second value means memorisation
    near-copies             share that is nearer to a trained slice than 99 % of held-out slices
    spectrum                difference of log10 power, 0.1 to 0.5 cycles a pixel
    histogram               difference of intensities, `histogram_distance`
    ======================= ==================================================================

    Parameters
    ----------
    generated
        Sets by method, with subjects only if computed from these subjects' slices.
    held_out, train
        Real slices with their subjects; features are fitted on the training slices.
    seed
        Seed of the bootstrap and of random choices.
    """
    scorer = _SetScorer(held_out, train if train is not None and len(train) else None, seed)
    for name, images in {**generated, **scorer.baselines()}.items():
        metrics = scorer.metrics(images)
        finite = {title: value for title, value in metrics.items() if math.isfinite(value)}
        yield Score(name, WHOLE_SET, finite)


def histogram_distance(a: Tensor, b: Tensor) -> float:
    """Return the Wasserstein-1 distance of the intensities of all pixels, 0 to 1, in 256 bins."""
    shares = [torch.histc(x.float().clamp(0, 1), _BINS, 0, 1) / x.numel() for x in (a, b)]
    return float((shares[0].cumsum(0) - shares[1].cumsum(0)).abs().mean())


class _SetScorer:
    """Metrics of sets, with what is computed of the real slices once."""

    def __init__(self, held_out: ImageSet, train: ImageSet | None, seed: int) -> None:
        self._held_out, self._train, self._seed = held_out, train, seed
        self._known = held_out if train is None else train
        self._features = Features.fit(self._known.thin(MOST).images)
        self._real = self._points(held_out)

    def baselines(self) -> dict[str, ImageSet]:
        """Return the baseline sets, of training slices if there are any."""
        ceiling = {} if self._train is None else {CEILING: self._train}
        known = self._known.thin(MOST)
        blurred = in_batches(lambda part: blur(part, _BLUR), known.images, 16)
        return {
            **ceiling,
            "mean image": _mean_images(known, self._held_out),
            "blurred real": ImageSet(blurred, known.subjects, known.levels),
        }

    def metrics(self, generated: ImageSet) -> dict[str, float]:
        images = generated.thin(MOST)
        return {**self._distances(images), **self._similarity(images), **self._direct(images)}

    def _points(self, images: ImageSet) -> Points:
        thinned = images.thin(MOST)
        return Points(self._features(thinned.images), thinned.subjects)

    def _distances(self, generated: ImageSet) -> dict[str, float]:
        points, real = self._points(generated), self._real
        low, high = kid_interval(points, real, self._seed)
        return {
            "KID x1000": 1000 * kid(points, real),
            "KID low": 1000 * low,
            "KID high": 1000 * high,
            "Frechet": frechet(points.values, real.values),
            "precision": precision(points, real),
            "recall": recall(points, real),
            "density": density(points, real),
            "coverage": coverage(points, real),
        }

    def _similarity(self, generated: ImageSet) -> dict[str, float]:
        queries = generated.thin(_MOST_MATCHED)
        best = {
            f"best SSIM {name}": float(best_match(queries, gallery)[0].nanmean())
            for name, gallery in self._galleries.items()
        }
        similarity = pair_similarity(generated, seed=self._seed)
        metrics = {"MS-SSIM": similarity, "MS-SSIM real": self._real_similarity, **best}
        if self._finder is not None:
            metrics["near-copies"] = self._finder.find(generated).share
        return metrics

    def _direct(self, generated: ImageSet) -> dict[str, float]:
        real = self._held_out.thin(MOST)
        return {
            "spectrum": float(spectral_distance(generated.images, real.images)),
            "histogram": histogram_distance(generated.images, real.images),
        }

    @cached_property
    def _real_similarity(self) -> float:
        return pair_similarity(self._held_out, seed=self._seed)

    @cached_property
    def _finder(self) -> NearCopyFinder | None:
        return None if self._train is None else NearCopyFinder(self._train, self._held_out)

    @cached_property
    def _galleries(self) -> dict[str, ImageSet]:
        """Equally many held-out and trained slices."""
        if self._train is None:
            return {"held-out": self._held_out}
        size = min(len(self._held_out), len(self._train))
        sets = {"held-out": self._held_out, "trained": self._train}
        return {name: _of_size(images, size, self._seed) for name, images in sets.items()}


def _of_size(images: ImageSet, size: int, seed: int) -> ImageSet:
    """Choose whole subjects at random until there are ``size`` slices."""
    if not images.subjects:
        return images.thin(size)
    names = list(dict.fromkeys(images.subjects))
    generator = torch.Generator().manual_seed(seed)
    place = {
        names[i]: rank for rank, i in enumerate(torch.randperm(len(names), generator=generator))
    }
    order = sorted(range(len(images)), key=lambda index: place[images.subjects[index]])
    return images.take(order[:size])


def _mean_images(known: ImageSet, reference: ImageSet) -> ImageSet:
    """Return the mean of the known slices near the level of each reference slice, or of all."""
    if known.levels is None or reference.levels is None:
        return ImageSet(known.images.mean(0, keepdim=True).expand(len(reference), -1, -1))
    apart = (reference.levels[:, None] - known.levels) / _LEVEL_WIDTH
    weights = (-apart.square() / 2).softmax(1)
    return ImageSet(torch.tensordot(weights, known.images.float(), 1), levels=reference.levels)
