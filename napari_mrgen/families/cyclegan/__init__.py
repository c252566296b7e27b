"""Translation between T1w and T2w: whole volumes in 3-D, both ways, from pairs or without."""

from __future__ import annotations

from napari_mrgen.engine.family import Family, Input
from napari_mrgen.families.cyclegan.config import (
    PRESETS,
    CycleGanConfig,
    CycleGanGenerateConfig,
)

_MANY_HELP = "{} volumes; those of one subject are paired by their names."
_PAIRS_HELP = (
    "A folder with both: trainA, trainB, testA and testB (A is T1w), BIDS with _T1w and _T2w, "
    "or files whose names say T1 or T2."
)
_MASK_HELP = "Brain masks, one a subject; without them they are made from the volumes."
_SOURCE_HELP = "A {} volume to translate; either this or the other."
_VOLUME, _LABELS = ("zyx",), "labels"

FAMILY = Family(
    name="cyclegan",
    title="T1w to T2w and back",
    summary="Learn to translate whole volumes between two contrasts, and both ways at once.",
    paper="After A. Perrone, 3D_CycleGAN (2021), https://github.com/perronea/3D_CycleGAN",
    package=__name__,
    train_inputs=(
        Input("t1", "T1w", _VOLUME, help=_MANY_HELP.format("T1w"), many=True, optional=True),
        Input("t2", "T2w", _VOLUME, help=_MANY_HELP.format("T2w"), many=True, optional=True),
        Input("mask", "Masks", _VOLUME, help=_MASK_HELP, many=True, optional=True, kind=_LABELS),
        Input("pairs", "Pairs", _VOLUME, help=_PAIRS_HELP, many=True, optional=True),
    ),
    generate_inputs=(
        Input("t1", "T1w", _VOLUME, help=_SOURCE_HELP.format("T1w"), optional=True),
        Input("t2", "T2w", _VOLUME, help=_SOURCE_HELP.format("T2w"), optional=True),
        Input("mask", "Brain mask", _VOLUME, optional=True, kind=_LABELS),
    ),
    train_config=CycleGanConfig,
    generate_config=CycleGanGenerateConfig,
    presets=PRESETS,
    sample="brain",
)
