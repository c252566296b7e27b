"""Real slices as a set that drawn ones are judged against."""

from __future__ import annotations

import math

from napari_mrgen.data.slices import SliceSet
from napari_mrgen.metrics.image_set import ImageSet

MOST = 1500
"""Slices of a real set: they lie in memory, and each is compared with each."""


def real_set(slices: SliceSet, most: int = MOST) -> tuple[ImageSet, list[int]]:
    """Return evenly spread slices of a set, and which ones they are."""
    chosen = list(range(0, len(slices), math.ceil(max(1, len(slices)) / most)))
    subjects, levels = slices.subjects, slices.levels[chosen]
    return ImageSet(slices.images(chosen), tuple(subjects[i] for i in chosen), levels), chosen
