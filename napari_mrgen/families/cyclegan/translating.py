"""A volume as the networks see it, what they make of it, and where that belongs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from napari_mrgen.data.brain import Box, brain_mask, crop, finite, is_stripped, n4, union_box
from napari_mrgen.data.prepared import scale_of
from napari_mrgen.data.scaling import Scaling
from napari_mrgen.engine.device import describe
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.cyclegan.config import LEAST_PATCH, CycleGanConfig
from napari_mrgen.io.masks import mask_on_grid
from napari_mrgen.nn.tiles import tiled
from napari_mrgen.volume import Volume

Values = npt.NDArray[np.float32]

_BORDER = 16
"""This part of a tile's side counts for nothing at its borders, where a network sees too little."""
_SHARE = 0.7
"""Of the free memory that a translation may take."""
_BYTES = 640
"""Of memory that a voxel needs, at most, in the networks of the presets."""


@dataclass(frozen=True)
class Sitting:
    """A volume made ready as those that were trained on were.

    Attributes
    ----------
    values
        ``(z, y, x)``, 0 to 1, of the part that is translated.
    box
        Where that part lies in ``volume``.
    scaling
        From the volume's intensities to ``values``.
    """

    volume: Volume
    values: Values
    box: Box
    scaling: Scaling

    def place(self, values: Values, scaling: Scaling, name: str) -> Volume:
        """Return a volume on the source's grid; around the box it has what stands for 0."""
        array = np.full(self.volume.array.shape, scaling.offset, np.float32)
        array[self.box.slices] = scaling.invert(values)
        return self.volume.with_array(array, name=name)


def sit(volume: Volume, mask: Volume | None, trained: CycleGanConfig) -> Sitting:
    """Make a volume ready: shading, brain box, the 99.5th percentile in it to 1.

    The whole of a head is translated, since its parts do not matter to one another; but of a
    skull-stripped one only the box around the brain, beyond which there is nothing, and for the
    published network only what it was trained on, since its norms see all at once.
    """
    volume = volume.with_array(finite(volume))
    brain = brain_mask(volume) if mask is None else mask_on_grid(mask, volume).array > 0
    z, y, x = (round(trained.margin_mm / length) for length in volume.spacing)
    box = union_box([brain], (z, y, x))
    corrected = n4(volume, brain) if trained.bias_correction else volume
    scaling = scale_of(crop(corrected, box))
    if trained.network != "published" and not is_stripped(volume):
        depth, height, width = volume.array.shape
        box = Box((0, 0, 0), (depth, height, width))
    values = scaling.apply(corrected.array[box.slices]).clip(0, 1)
    return Sitting(volume, values, box, scaling)


def translate(network: nn.Module, values: Values, legal: int, tile: int = 0) -> Values:
    """Translate ``(z, y, x)`` of 0 to 1, on the network's device; the result lies in 0 to 1 too.

    ``tile`` 0 translates it whole where that fits in memory, else in the largest tiles that do;
    tiles begin at multiples of ``legal``, on the grid that the whole volume has in the network.
    """
    device = next(network.parameters()).device
    volume = torch.from_numpy(np.ascontiguousarray(values, np.float32))[None, None].to(device)
    side = tile or _fitting(values.shape, device)
    made = tiled(network, volume, side, margin=side // _BORDER, align=legal)
    return made[0, 0].clamp(0, 1).cpu().numpy()


def target_scaling(data: Mapping[str, Any], target: str) -> Scaling:
    """Return the usual range of intensities of a contrast in the training data."""
    try:
        found = data["scaling"][target]
        return Scaling(float(found["offset"]), float(found["scale"]))
    except (KeyError, TypeError, ValueError):
        msg = f"The model does not know the intensities of {target.upper()}w; train it again."
        raise MrgenError(msg) from None


def _fitting(shape: tuple[int, ...], device: torch.device) -> int:
    """Return the side of the largest tile that fits; 0 where the whole does."""
    room = _SHARE * describe(device).free_bytes
    side = 0
    while side != LEAST_PATCH and _BYTES * prod(min(side or size, size) for size in shape) > room:
        side = max(LEAST_PATCH, (side or max(shape)) // 2)
    return side
