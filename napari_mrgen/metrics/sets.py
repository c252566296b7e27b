"""The scoreboard of generated sets: how real, how varied, and whether copied.

One set stands beside held-out real slices for each method, and trivial sets beside them: real
slices that were trained on (nothing can be expected to do better), the mean image at each level,
and real slices blurred. `score_sets` says which figures there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property

import torch
from torch import Tensor

from napari_mrgen.metrics.distributions import (
    Points,
    coverage,
    density,
    frechet,
    kid,
    kid_interval,
    precision,
    recall,
)
from napari_mrgen.metrics.features import Features, in_batches
from napari_mrgen.metrics.image_set import ImageSet, Sets
from napari_mrgen.metrics.images import blur, spectral_distance
from napari_mrgen.metrics.matching import best_match, pair_similarity
from napari_mrgen.metrics.memorisation import NearCopyFinder
from napari_mrgen.metrics.scoreboard import WHOLE_SET, Score

__all__ = ["Features", "ImageSet", "Sets", "histogram_distance", "score_sets"]

CEILING = "real, trained on"
MOST = 2000
"""Images of a set that are compared; more change little, and time grows with the square."""
_MOST_MATCHED = 160
"""Images of a set whose best match is sought."""
_LEVEL_WIDTH = 0.05
_BLUR = 1.5
"""Of the blurred real slices: sigma in pixels."""
_BINS = 256


def score_sets(
    made: Mapping[str, ImageSet], held_out: ImageSet, train: ImageSet | None = None, seed: int = 0
) -> Iterator[Score]:
    """Yield the figures of each set, then those of the trivial ones.

    A figure that cannot be had (of a single subject, or without training slices) is left out.

    ======================= ==================================================================
    KID x1000, low, high    distance to the held-out slices, `kid`, with the 95 % interval of a
                            bootstrap over subjects
    Frechet                 another distance, `frechet`
    precision, density      how much of the set looks real
    recall, coverage        how much of what is real is in the set
    MS-SSIM (real)          likeness of random pairs within the set, and of held-out slices:
                            a set that is more alike lacks variety
    best SSIM held-out,     likeness to the most similar slice among as many held-out and as many
    best SSIM trained       trained slices: where the second is much higher, slices were memorised
    copies                  share that is nearer to a trained slice than 99 % of held-out slices
    spectrum                difference of log10 power, 0.1 to 0.5 cycles a pixel
    histogram               difference of intensities, `histogram_distance`
    ======================= ==================================================================

    Parameters
    ----------
    made
        Sets by method, with subjects only if made from these subjects' slices.
    held_out, train
        Real slices with their subjects; features are fitted on those that were trained on.
    seed
        Of the bootstrap and of what is drawn at random.
    """
    jury = _Jury(held_out, train if train is not None and len(train) else None, seed)
    for name, images in {**made, **jury.yardsticks()}.items():
        figures = jury.figures(images)
        found = {title: value for title, value in figures.items() if math.isfinite(value)}
        yield Score(name, WHOLE_SET, found)


def histogram_distance(a: Tensor, b: Tensor) -> float:
    """Wasserstein-1 distance of the intensities of all pixels, 0 to 1, in 256 bins."""
    shares = [torch.histc(x.float().clamp(0, 1), _BINS, 0, 1) / x.numel() for x in (a, b)]
    return float((shares[0].cumsum(0) - shares[1].cumsum(0)).abs().mean())


class _Jury:
    """Keeps what is computed of the real slices once for all sets."""

    def __init__(self, held_out: ImageSet, train: ImageSet | None, seed: int) -> None:
        self._held_out, self._train, self._seed = held_out, train, seed
        self._known = held_out if train is None else train
        self._features = Features.fit(self._known.thin(MOST).images)
        self._real = self._points(held_out)

    def yardsticks(self) -> dict[str, ImageSet]:
        """Return the trivial sets, of training slices if there are any."""
        ceiling = {} if self._train is None else {CEILING: self._train}
        known = self._known.thin(MOST)
        blurred = in_batches(lambda part: blur(part, _BLUR), known.images, 16)
        return {
            **ceiling,
            "mean image": _mean_images(known, self._held_out),
            "blurred real": ImageSet(blurred, known.subjects, known.levels),
        }

    def figures(self, made: ImageSet) -> dict[str, float]:
        made = made.thin(MOST)
        return {**self._distances(made), **self._likeness(made), **self._plain(made)}

    def _points(self, images: ImageSet) -> Points:
        thinned = images.thin(MOST)
        return Points(self._features(thinned.images), thinned.subjects)

    def _distances(self, made: ImageSet) -> dict[str, float]:
        points, real = self._points(made), self._real
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

    def _likeness(self, made: ImageSet) -> dict[str, float]:
        queries = made.thin(_MOST_MATCHED)
        best = {
            f"best SSIM {name}": float(best_match(queries, gallery)[0].nanmean())
            for name, gallery in self._galleries.items()
        }
        alike = pair_similarity(made, seed=self._seed)
        figures = {"MS-SSIM": alike, "MS-SSIM real": self._real_likeness, **best}
        if self._finder is not None:
            figures["copies"] = self._finder.find(made).share
        return figures

    def _plain(self, made: ImageSet) -> dict[str, float]:
        real = self._held_out.thin(MOST)
        return {
            "spectrum": float(spectral_distance(made.images, real.images)),
            "histogram": histogram_distance(made.images, real.images),
        }

    @cached_property
    def _real_likeness(self) -> float:
        return pair_similarity(self._held_out, seed=self._seed)

    @cached_property
    def _finder(self) -> NearCopyFinder | None:
        return None if self._train is None else NearCopyFinder(self._train, self._held_out)

    @cached_property
    def _galleries(self) -> dict[str, ImageSet]:
        """Held-out and trained slices, as many of the one as of the other."""
        if self._train is None:
            return {"held-out": self._held_out}
        size = min(len(self._held_out), len(self._train))
        sets = {"held-out": self._held_out, "trained": self._train}
        return {name: _of_size(images, size, self._seed) for name, images in sets.items()}


def _of_size(images: ImageSet, size: int, seed: int) -> ImageSet:
    """Draw whole subjects until there are so many slices: few people, not few slices of many."""
    if not images.subjects:
        return images.thin(size)
    names = list(dict.fromkeys(images.subjects))
    generator = torch.Generator().manual_seed(seed)
    place = {
        names[i]: rank for rank, i in enumerate(torch.randperm(len(names), generator=generator))
    }
    order = sorted(range(len(images)), key=lambda index: place[images.subjects[index]])
    return images.take(order[:size])


def _mean_images(known: ImageSet, like: ImageSet) -> ImageSet:
    """Return the mean of the known slices near the level of each other slice, or of all."""
    if known.levels is None or like.levels is None:
        return ImageSet(known.images.mean(0, keepdim=True).expand(len(like), -1, -1))
    apart = (like.levels[:, None] - known.levels) / _LEVEL_WIDTH
    weights = (-apart.square() / 2).softmax(1)
    return ImageSet(torch.tensordot(weights, known.images.float(), 1), levels=like.levels)
