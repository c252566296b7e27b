"""Preview of the training data, and a check of its scans for oddities."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from napari_mrgen.data.scaling import fill_note
from napari_mrgen.data.slice_volumes import sampled_volume
from napari_mrgen.data.slices import SliceData
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Volume

_SHOWN = 16
_ODD = 0.5
"""Relative deviation from the median voxel size from which a size is odd."""


def show_slices(data: SliceData, draws: Callable[[int], torch.Generator]) -> Volume:
    """Return some training slices as the networks get them: ``nzyx``, one a sample."""
    count = min(_SHOWN, len(data))
    indices = np.linspace(0, len(data) - 1, count).round().astype(int).tolist()
    images = torch.cat([data.sample(index, draws(index))["image"] for index in indices])
    return sampled_volume(images, data.describe(), "training slices")


def find_oddities(references: Iterable[Reference]) -> tuple[str, ...]:
    """Compare each scan with the rest: voxel size, values, duplicates."""
    warnings: list[str] = []
    seen: dict[int, str] = {}
    sizes: list[tuple[str, np.ndarray]] = []
    for reference in dict.fromkeys(references):
        volume, name = reference.read(), reference.path.name
        sizes.append((name, np.array(volume.spacing)))
        if note := fill_note(volume.array):
            warnings.append(f"{name}: {note}")
        if volume.array.max() == volume.array.min():
            warnings.append(f"{name}: the same value everywhere.")
        key = hash(volume.array.tobytes())
        if key in seen:
            warnings.append(f"{name}: the same images as {seen[key]}.")
        seen[key] = name
    usual = np.median([size for _, size in sizes], axis=0)
    for name, size in sizes:
        if np.any(np.abs(size / usual - 1) > _ODD):
            text = " x ".join(f"{length:.2f}" for length in size)
            warnings.append(f"{name}: odd voxel size, {text} mm (z, y, x).")
    return tuple(warnings)
