"""Slices of phantom heads: enough people to tell new ones from those that were seen."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch

from napari_mrgen.data.slices import SliceSpec, slices_of
from napari_mrgen.metrics.distributions import ImageSet
from napari_mrgen.samples import brain
from napari_mrgen.volume import Volume


def cut(volumes: Iterable[tuple[str, Volume]], size: int, every: int) -> ImageSet:
    """Cut every so many of each subject's slices."""
    images, subjects, levels = [], [], []
    for subject, volume in volumes:
        slices, placement = slices_of(volume, SliceSpec(size=size))
        chosen = list(placement.chosen)[::every]
        images.append(slices[chosen])
        levels.append(placement.levels[chosen])
        subjects += [subject] * len(chosen)
    return ImageSet(torch.cat(images), tuple(subjects), torch.cat(levels))


@pytest.fixture(scope="session")
def heads() -> tuple[ImageSet, ImageSet]:
    """Slices of 64 x 64 pixels: of ten people to train on, and of six others."""
    volumes = [(f"phantom-{seed}", brain(seed)[0]) for seed in range(16)]
    return cut(volumes[:10], 64, 4), cut(volumes[10:], 64, 4)
