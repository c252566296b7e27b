"""What a training shows of itself: a held-out head, translated there and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.data.heads.preprocessing import PreprocessedSession
from napari_mrgen.engine.device import device_of
from napari_mrgen.families.cyclegan.config import CycleGanConfig
from napari_mrgen.families.cyclegan.networks import Direction
from napari_mrgen.families.cyclegan.translating import in_tiles
from napari_mrgen.volume import Volume

TILE = 1.5
"""Sides of a patch in those of what is translated at once: it needs less than a training step."""
_DIFFERENCES = (-0.5, 0.5)
MOST_VOXELS = 1_000_000
"""Larger volumes are shown at half their resolution: previews are written often, and kept."""


def show(
    networks: Mapping[str, nn.Module],
    direction: Direction,
    pair: PreprocessedSession,
    config: CycleGanConfig,
) -> Iterator[Volume]:
    """Yield the head translated, as it is, translated back, and what is missed.

    The last is the difference from the true volume, or of the way back where there is none. A head
    is translated whole where whole ones are trained on, else in tiles.
    """
    device, side = device_of(networks[direction.network]), round(TILE * config.patch)
    place, difference = pair.volume("mask"), f"{direction.title}: difference"
    source = _values(pair, direction.source).to(device)
    fake = in_tiles(networks[direction.network], source, side, config.legal)
    yield _small(fake, place, f"synthetic {direction.target_title}")
    yield _small(source, place, f"real {direction.source_title}")
    if direction.inverse_network in networks:
        again = in_tiles(networks[direction.inverse_network], fake, side, config.legal)
        yield _small(again, place, f"{direction.source_title} after both directions")
        if not pair.has(direction.target):
            yield _small(again - source, place, difference, _DIFFERENCES)
    if pair.has(direction.target):
        truth = _values(pair, direction.target).to(device)
        yield _small(fake - truth, place, difference, _DIFFERENCES)


def _values(pair: PreprocessedSession, role: str) -> Tensor:
    return torch.from_numpy(np.array(pair.array(role), np.float32))[None, None]


def _small(
    made: Tensor, place: Volume, name: str, window: tuple[float, float] = (0.0, 1.0)
) -> Volume:
    """Return ``(1, 1, z, y, x)`` in its place, at half the resolution where it is large.

    All previews of a run are pictured in one ``window`` of intensities.
    """
    values, affine = made[0, 0].float().cpu(), place.affine
    if values.numel() > MOST_VOXELS:
        values = functional.avg_pool3d(values[None, None], 2)[0, 0]
        # The first of the larger voxels lies between the first two.
        affine = affine @ np.array(
            [[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]], np.float64
        )
    array = values.numpy()
    return Volume(array, "zyx", affine, name=name, subject=place.subject, window=window)
