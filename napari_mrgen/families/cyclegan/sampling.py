"""Translation of a volume: in its place, in the intensities of the other contrast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_mrgen.data.heads.brain import Box, brain_mask, crop, finite, is_stripped, n4, union_box
from napari_mrgen.data.heads.preprocessing import head_scaling
from napari_mrgen.data.heads.sessions import contrast_title
from napari_mrgen.data.scaling import Scaling
from napari_mrgen.engine.device import choose_precision, device_info, device_of
from napari_mrgen.engine.distributed import in_precision
from napari_mrgen.engine.exportable import Exportable, Port
from napari_mrgen.engine.memory.measure import measure_call
from napari_mrgen.engine.task import Networks
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.cyclegan.config import CycleGanConfig, CycleGanGenerateConfig
from napari_mrgen.families.cyclegan.networks import ALL_DIRECTIONS, Direction, directions
from napari_mrgen.io.masks import mask_on_grid
from napari_mrgen.nn.sliding_window import tiled
from napari_mrgen.volume import Volume

Values = npt.NDArray[np.float32]

_OVERLAP, _MARGIN = 48, 18
"""Voxels that two tiles share, and of them those at a tile's border that are left out, since the
network sees too little there: a trained `quick` is off by 5 % of the range 14 voxels inside, by
0.5 % 20 inside, at most."""
_LEAST_TILE = 96
"""Smaller tiles, which only the user can ask for, overlap less."""
_MEMORY_SHARE = 0.7
"""Share of the free memory that a translation may take."""
_BYTES_BESIDE = 4 * 4
"""Bytes a voxel beside a call: the input, and the volume that tiles are put together in."""
_EXPORT_SIZES = ((2, 19, 21, 27), (1, 16, 24, 20), (1, 33, 32, 13), (1, 15, 17, 18))


def translate_input(
    networks: Networks,
    trained: CycleGanConfig,
    config: CycleGanGenerateConfig,
    inputs: Mapping[str, Volume],
    generator: torch.Generator,
    data: Mapping[str, Any],
) -> Iterator[Volume]:
    """Yield the translated volume; with ``cycle`` also its inverse translation, and the error.

    Nothing is random: ``generator`` is not needed, and all samples would be the same.
    """
    del generator
    direction = choose_direction(networks, config, inputs)
    source = inputs[direction.source]
    prepared = preprocess_volume(source, inputs.get("mask"), trained)
    network = networks[direction.network]
    translated = translate(network, prepared.values, trained.legal, config.tile)
    name = f"{source.name or direction.source_title} as {direction.target_title}"
    yield prepared.place(translated, target_scaling(data, direction.target), name)
    if config.cycle:
        inverse = networks[direction.inverse_network]
        cycled = translate(inverse, translated, trained.legal, config.tile)
        yield prepared.place(cycled, prepared.scaling, f"{name} and back")
        error = np.abs(cycled - prepared.values)
        scaling = Scaling(0.0, prepared.scaling.scale)
        yield prepared.place(error, scaling, f"{name} and back, error")


def choose_direction(
    networks: Networks, config: CycleGanGenerateConfig, inputs: Mapping[str, Volume]
) -> Direction:
    """Return the direction that is asked for, or follows from the input."""
    sources = [direction for direction in ALL_DIRECTIONS if direction.source in inputs]
    if config.direction == "auto" and len(sources) != 1:
        got = "both; set the direction, or leave one out" if sources else "none"
        raise MrgenError(f"Expected a T1w or a T2w volume to translate, got {got}.")
    direction = sources[0] if config.direction == "auto" else Direction(config.direction)
    if direction.source not in inputs:
        msg = f"The input {direction.source!r} is missing: it is what {direction.title} translates."
        raise MrgenError(msg)
    if direction.network not in networks:
        msg = (
            f"This model does not translate {direction.title}: it was trained in the other "
            "direction alone; give it the other contrast, or train with direction=both."
        )
        raise MrgenError(msg)
    if config.cycle and direction.inverse_network not in networks:
        msg = (
            "This model was trained in one direction and does not know the way back; leave cycle "
            "out, or train with direction=both."
        )
        raise MrgenError(msg)
    return direction


def target_scaling(data: Mapping[str, Any], target: str) -> Scaling:
    """Return the usual range of intensities of a contrast in the training data."""
    try:
        values = data["scaling"][target]
        return Scaling(float(values["offset"]), float(values["scale"]))
    except (KeyError, TypeError, ValueError):
        title = contrast_title(target)
        msg = f"The model does not know the intensities of {title}; train it again."
        raise MrgenError(msg) from None


# ---- preprocessing ------------------------------------------------------------------------------


@dataclass(frozen=True)
class PreprocessedVolume:
    """A volume preprocessed as those of the training were.

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
        """Return a volume on the source's grid; around the box it has the intensity of 0."""
        array = np.full(self.volume.array.shape, scaling.offset, np.float32)
        array[self.box.slices] = scaling.invert(values)
        return self.volume.with_array(array, name=name)


def preprocess_volume(
    volume: Volume, mask: Volume | None, trained: CycleGanConfig
) -> PreprocessedVolume:
    """Correct the shading, find the brain, scale the 99.5th percentile of the head to 1.

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


# ---- translation --------------------------------------------------------------------------------


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
    translated = translate_tiles(function, volume, side, legal)
    return translated[0, 0].clamp(0, 1).cpu().numpy()


def translate_tiles(
    function: Callable[[Tensor], Tensor], volume: Tensor, side: int, legal: int
) -> Tensor:
    """Translate ``(1, 1, z, y, x)`` without seams; with ``side`` 0 as a whole."""
    side = max(side, 3 * legal) if side else 0  # Or the tiles' stride would not be a multiple.
    shared = min(_OVERLAP, side * 5 // 8)
    overlap = shared / side if side else 0.0
    return tiled(function, volume, side, overlap, _MARGIN * shared // _OVERLAP, legal)


def fitting_tile(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...], device: torch.device
) -> int:
    """Return the side of the largest tile that fits in memory; 0 where the whole does.

    Where nothing fits it is the smallest that there is.
    """
    available = _MEMORY_SHARE * device_info(device).free_bytes - _BYTES_BESIDE * prod(shape)
    side = 0
    while side != _LEAST_TILE:
        tile = (min(side or size, size) for size in shape)
        if measure_call(function, (1, 1, *tile), device) <= available:
            break
        side = max(_LEAST_TILE, (side or max(shape)) * 3 // 4)
    return side


def translators_to_export(networks: Networks, trained: CycleGanConfig) -> Iterator[Exportable]:
    """Yield the network of each direction, for volumes of any size."""
    for direction in directions(trained):
        yield Exportable(
            name=direction.network,
            module=networks[direction.network],
            inputs=(Port("volume", ("b", 1, "z", "y", "x")),),
            output="translated",
            sizes=tuple(dict(zip("bzyx", sizes, strict=True)) for sizes in _EXPORT_SIZES),
            help=f"{direction.title}: of both 0 is dark, and 1 the brain's 99.5th percentile.",
        )
