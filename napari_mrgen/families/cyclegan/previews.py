"""What a training shows of itself: a held-out head, translated there and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.data.prepared import PreparedPair
from napari_mrgen.families.cyclegan.networks import Way
from napari_mrgen.nn.tiles import tiled
from napari_mrgen.volume import Volume

TILE = 192
"""Voxels along each side of what is translated at once; heads are shorter, mostly."""
MOST_VOXELS = 1_000_000
"""Larger volumes are shown at half their resolution: previews are written often, and kept."""


def show(
    networks: Mapping[str, nn.Module], way: Way, pair: PreparedPair, legal: int
) -> Iterator[Volume]:
    """Yield the head as it is, translated, translated back, and what is missed.

    That is the difference from the true volume, or of the way back where there is none. ``legal``
    is what networks want sides to be a multiple of.
    """
    device = next(networks[way.there].parameters()).device
    source = torch.from_numpy(np.array(pair.array(way.source), np.float32))[None, None]
    shown = {f"real {way.source_title}": source}
    fake = tiled(networks[way.there], source.to(device), TILE, align=legal)
    shown[f"synthetic {way.target_title}"] = fake
    missed = None
    if way.back in networks:
        again = tiled(networks[way.back], fake, TILE, align=legal)
        shown[f"{way.source_title} after both directions"] = again
        missed = again - source.to(again)
    if pair.has(way.target):
        missed = fake - torch.from_numpy(np.array(pair.array(way.target), np.float32)).to(fake)
    if missed is not None:
        shown[f"{way.title}: difference"] = missed
    for name, volume in shown.items():
        yield _small(volume[0, 0].float().cpu(), pair.volume("mask"), name)


def _small(values: Tensor, place: Volume, name: str) -> Volume:
    """Return ``(z, y, x)`` in its place, at half the resolution where it is large."""
    affine = place.affine
    if values.numel() > MOST_VOXELS:
        values = functional.avg_pool3d(values[None, None], 2)[0, 0]
        # The first of the larger voxels lies between the first two.
        affine = affine @ np.array(
            [[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]], np.float64
        )
    return Volume(values.numpy(), "zyx", affine, name=name, subject=place.subject)
