"""Structural similarity between sets of images: best matches, and random pairs (diversity)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from napari_mrgen.metrics.distributions import ImageSet, comparable_pairs
from napari_mrgen.metrics.features import in_batches
from napari_mrgen.metrics.images import SSIM_WINDOW, ssim, ssim_terms

LEVEL_WINDOW = 0.1
"""Slices whose levels differ by more are not compared, where both levels are known."""
CANDIDATES = 8
_SMALL = 32
_PAIRS = 256
_BATCH = 4
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def best_match(
    queries: ImageSet, gallery: ImageSet, candidates: int = CANDIDATES
) -> tuple[Tensor, Tensor]:
    """Find the slice of the gallery that is most similar to each query.

    SSIM is computed for the ``candidates`` with the least squared error at 32 x 32 pixels: on brain
    slices the mean over the best of 8 is 0.001 below that over all. A query may be mirrored. Slices
    of the query's own subject or of another level are excluded.

    Returns
    -------
    similarity
        ``(n,)``; NaN where no slice may be compared.
    index
        ``(n,)``, the slice of the gallery.
    """
    allowed = comparable_pairs(queries, gallery)
    if queries.levels is not None and gallery.levels is not None:
        allowed &= (queries.levels[:, None] - gallery.levels).abs() <= LEVEL_WINDOW
    both = torch.cat([queries.images, queries.images.flip(-1)])
    error = torch.cdist(_shrink(both), _shrink(gallery.images))
    error = error.masked_fill(~allowed.repeat(2, 1), torch.inf)
    error = torch.cat(error.chunk(2), 1)
    nearest, place = error.topk(min(candidates, error.shape[1]), largest=False)
    index, is_mirrored = place % len(gallery), place // len(gallery)
    query = torch.arange(len(queries))[:, None] + is_mirrored * len(queries)
    similarity = in_batches(
        lambda pairs: ssim(both[pairs[:, 0]], gallery.images[pairs[:, 1]]),
        torch.stack([query, index], -1).flatten(0, 1),
        _BATCH,
    )
    best = similarity.view_as(nearest).masked_fill(nearest.isinf(), -torch.inf).max(1)
    match = index.gather(1, best.indices[:, None])[:, 0]
    return best.values.masked_fill(best.values.isinf(), torch.nan), match


def ms_ssim(prediction: Tensor, truth: Tensor) -> Tensor:
    """Return the multi-scale structural similarity of slices ``(n, y, x)``, data range 1.

    Five scales need 176 pixels; smaller images have as many scales as the window of 11 pixels
    fits (four at 128), with weights normalised to sum to one.

    References
    ----------
    Wang et al., Multi-scale structural similarity for image quality assessment, Asilomar 2003.
    """
    size = min(prediction.shape[-2:])
    count = sum(size // 2**scale >= SSIM_WINDOW for scale in range(len(_WEIGHTS)))
    weights = torch.tensor(_WEIGHTS[: max(1, count)])
    x, y = prediction[:, None], truth[:, None]
    factors = []
    for scale in range(len(weights)):
        luminance, structure = ssim_terms(x, y)
        is_last = scale == len(weights) - 1
        local = luminance * structure if is_last else structure
        factors.append(local.mean((1, 2, 3)).clamp(min=0))
        x, y = (functional.avg_pool2d(images, 2) for images in (x, y))
    return (torch.stack(factors, 1) ** (weights / weights.sum())).prod(1)


def pair_similarity(images: ImageSet, pairs: int = _PAIRS, seed: int = 0) -> float:
    """Return the mean `ms_ssim` of random pairs (lower is more diverse); NaN without a pair."""
    allowed = comparable_pairs(images, images).nonzero()
    if not len(allowed):
        return float("nan")
    generator = torch.Generator().manual_seed(seed)
    chosen = allowed[torch.randint(len(allowed), (pairs,), generator=generator)]
    similarity = in_batches(
        lambda part: ms_ssim(images.images[part[:, 0]], images.images[part[:, 1]]), chosen, _BATCH
    )
    return float(similarity.mean())


def _shrink(images: Tensor) -> Tensor:
    return in_batches(
        lambda part: functional.adaptive_avg_pool2d(part.float(), _SMALL).flatten(1), images, 64
    )
