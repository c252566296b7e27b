"""Translate a volume, and back again: in its place, in the intensities of the other contrast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from napari_mrgen.data.scaling import Scaling
from napari_mrgen.engine.task import Networks
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.cyclegan.config import (
    CycleGanConfig,
    CycleGanGenerateConfig,
    DirectionName,
)
from napari_mrgen.families.cyclegan.networks import Direction
from napari_mrgen.families.cyclegan.scoring import comparisons, score
from napari_mrgen.families.cyclegan.translating import preprocess_volume, target_scaling, translate
from napari_mrgen.volume import Volume

__all__ = ["comparisons", "generate", "score"]

_OF: Mapping[str, DirectionName] = {"t1": "t1 to t2", "t2": "t2 to t1"}
"""The direction of what is given."""


def generate(
    networks: Networks,
    trained: CycleGanConfig,
    config: CycleGanGenerateConfig,
    inputs: Mapping[str, Volume],
    generator: torch.Generator,
    data: Mapping[str, Any],
) -> Iterator[Volume]:
    """Yield the translated volume; with ``cycle`` also the way back, and by how much it misses.

    Nothing is drawn: ``generator`` is not needed, and all samples would be the same.
    """
    del generator
    direction = choose_direction(networks, config, inputs)
    source = inputs[direction.source]
    preprocessed = preprocess_volume(source, inputs.get("mask"), trained)
    made = translate(networks[direction.network], preprocessed.values, trained.legal, config.tile)
    name = f"{source.name or direction.source_title} as {direction.target_title}"
    yield preprocessed.place(made, target_scaling(data, direction.target), name)
    if config.cycle:
        again = translate(networks[direction.inverse_network], made, trained.legal, config.tile)
        yield preprocessed.place(again, preprocessed.scaling, f"{name} and back")
        size = Scaling(0.0, preprocessed.scaling.scale)
        missed = np.abs(again - preprocessed.values)
        yield preprocessed.place(missed, size, f"{name} and back, error")


def choose_direction(
    networks: Networks, config: CycleGanGenerateConfig, inputs: Mapping[str, Volume]
) -> Direction:
    """Return the direction that is asked for or follows from the input; refuse what cannot be."""
    given = [role for role in _OF if role in inputs]
    if config.direction == "auto" and len(given) != 1:
        said = "both; set the direction, or leave one out" if given else "none"
        raise MrgenError(f"Expected a T1w or a T2w volume to translate, got {said}.")
    direction = Direction(_OF[given[0]] if config.direction == "auto" else config.direction)
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
