"""A volume as the networks see it, what they make of it, and where that belongs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_mrgen.data.heads.brain import Box, brain_mask, crop, finite, is_stripped, n4, union_box
from napari_mrgen.data.heads.preprocessing import head_scaling
from napari_mrgen.data.scaling import Scaling
from napari_mrgen.engine.device import choose_precision, describe, device_of
from napari_mrgen.engine.distributed import in_precision
from napari_mrgen.engine.memory.measure import measure_call
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.cyclegan.config import CycleGanConfig
from napari_mrgen.io.masks import mask_on_grid
from napari_mrgen.nn.sliding_window import tiled
from napari_mrgen.volume import Volume

Values = npt.NDArray[np.float32]

_SHARED, _MARGIN = 48, 18
"""Voxels that two tiles share, and of them those at a tile's border that count for nothing, since
the network sees too little there: a trained `quick` is off by 5 % of the range 14 voxels inside, by
0.5 % 20 inside, at most."""
_LEAST_TILE = 96
"""Smaller ones, which only the user can want, share less than that."""
_SHARE = 0.7
"""Of the free memory that a translation may take."""
_BESIDE = 4 * 4
"""Bytes a voxel that are there beside a call: what is given, and what tiles are put together in."""


@dataclass(frozen=True)
class PreprocessedVolume:
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


def preprocess_volume(
    volume: Volume, mask: Volume | None, trained: CycleGanConfig
) -> PreprocessedVolume:
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
    scaling = head_scaling(crop(corrected, box))
    if trained.network != "published" and not is_stripped(volume):
        depth, height, width = volume.array.shape
        box = Box((0, 0, 0), (depth, height, width))
    values = scaling.apply(corrected.array[box.slices]).clip(0, 1)
    return PreprocessedVolume(volume, values, box, scaling)


def translate(network: nn.Module, values: Values, legal: int, tile: int = 0) -> Values:
    """Translate ``(z, y, x)`` of 0 to 1, on the network's device; the result lies in 0 to 1 too.

    As training it takes bfloat16 where that is faster. ``tile`` 0 translates the volume whole where
    that fits in memory, else in the largest tiles that do; tiles begin at multiples of ``legal``,
    on the grid that the whole volume has in the network.
    """
    device = device_of(network)
    function = in_precision(network.forward, choose_precision("auto", device))
    volume = torch.from_numpy(np.ascontiguousarray(values, np.float32))[None, None].to(device)
    side = tile or fitting_tile(function, values.shape, device)
    made = in_tiles(function, volume, side, legal)
    return made[0, 0].clamp(0, 1).cpu().numpy()


def in_tiles(function: Callable[[Tensor], Tensor], volume: Tensor, side: int, legal: int) -> Tensor:
    """Translate ``(1, 1, z, y, x)`` without seams; 0 as ``side`` is the whole."""
    side = max(side, 3 * legal) if side else 0  # Or tiles would not go on by a multiple of it.
    shared = min(_SHARED, side * 5 // 8)
    overlap = shared / side if side else 0.0
    return tiled(function, volume, side, overlap, _MARGIN * shared // _SHARED, legal)


def target_scaling(data: Mapping[str, Any], target: str) -> Scaling:
    """Return the usual range of intensities of a contrast in the training data."""
    try:
        found = data["scaling"][target]
        return Scaling(float(found["offset"]), float(found["scale"]))
    except (KeyError, TypeError, ValueError):
        msg = f"The model does not know the intensities of {target.upper()}w; train it again."
        raise MrgenError(msg) from None


def fitting_tile(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...], device: torch.device
) -> int:
    """Return the side of the largest tile that fits in memory; 0 where the whole does.

    Where nothing fits it is the smallest that there is.
    """
    room = _SHARE * describe(device).free_bytes - _BESIDE * prod(shape)
    side = 0
    while side != _LEAST_TILE:
        tile = (min(side or size, size) for size in shape)
        if measure_call(function, (1, 1, *tile), device) <= room:
            break
        side = max(_LEAST_TILE, (side or max(shape)) * 3 // 4)
    return side
