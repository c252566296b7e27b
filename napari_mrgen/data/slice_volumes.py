"""Sampled slices as volumes with the size in mm of a scan, and real slices as sets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_mrgen.data.slices import SliceSet, condition_vectors
from napari_mrgen.metrics.distributions import ImageSet
from napari_mrgen.volume import Participant, Sex, Source, Volume

MOST = 1500
"""Most slices of a real set: they are in memory, and each is compared with each."""
BLOCK = 64
"""Most samples of one volume."""
_GOLDEN = 0.6180339887498949
_ACROSS: Mapping[str, tuple[int, int, int]] = {
    "axial": (2, 1, 0),
    "coronal": (1, 2, 0),
    "sagittal": (0, 2, 1),
}
"""Scanner axes (0 right, 1 anterior, 2 superior) of slices, rows and columns, by plane."""


def blocks(count: int) -> Iterator[range]:
    """Split the indices of ``count`` samples into blocks."""
    for start in range(0, count, BLOCK):
        yield range(start, min(start + BLOCK, count))


def sample_levels(indices: Sequence[int], level: float | None = None) -> Tensor:
    """Return the level of each sample, ``(n,)``: the given one, or else spread over 0 to 1.

    They are spread by the golden ratio: a level depends on the sample's index alone, and any number
    of them lies evenly.
    """
    if level is not None:
        return torch.full((len(indices),), level)
    places = (0.5 + _GOLDEN * np.asarray(indices, np.float64)) % 1.0
    return torch.from_numpy(places.astype(np.float32))


def sample_conditions(
    levels: Tensor, age: float | None, sex: Sex | None
) -> tuple[Tensor, dict[str, Any]]:
    """Return the conditions of samples, ``(n, 4)``, and the same as columns of a table."""
    participant = Participant(age=age, sex=sex)
    columns: dict[str, Any] = {"level": [round(float(level), 4) for level in levels]}
    columns |= {name: [value] * len(levels) for name, value in participant.known.items()}
    return condition_vectors(levels, participant), columns


def sampled_volume(
    images: Tensor, data: Mapping[str, Any], name: str, axes: str = "nzyx", **changes: Any
) -> Volume:
    """Return images ``(n, y, x)`` as samples (``nzyx``) or frames (``tzyx``) of one slice.

    ``data`` describes the training data (`SliceData.describe`). The slice lies upright around the
    scanner's centre; whatever its plane, its rows are ``y`` and its columns ``x``. Where the
    training slices were PNG files, lengths are in their pixels, not in mm.
    """
    array = images.float().cpu().numpy()[:, None]
    source = None if data.get("spacing_known", True) else Source(spacing_known=False)
    affine = _affine(data, array.shape[-3:])
    return Volume(array, axes, affine, name=name, **{"source": source, **changes})


def _affine(data: Mapping[str, Any], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    axes = _ACROSS[str(data.get("plane", "axial"))]
    for column, (axis, size) in enumerate(zip(axes, data["spacing_mm"], strict=True)):
        # Downwards, to the back and to the patient's left, as upright slices are stored.
        affine[axis, column] = -float(size)
        affine[axis, 3] = float(size) * (shape[column] - 1) / 2
    return affine


def real_set(slices: SliceSet, most: int = MOST) -> tuple[ImageSet, list[int]]:
    """Return evenly spread slices of a set, and their indices."""
    chosen = list(range(0, len(slices), math.ceil(max(1, len(slices)) / most)))
    subjects, levels = slices.subjects, slices.levels[chosen]
    return ImageSet(slices.images(chosen), tuple(subjects[i] for i in chosen), levels), chosen
