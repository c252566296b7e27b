"""Frame prediction: from the last frames of a cine, the next ones."""

from __future__ import annotations

from napari_mrgen.engine.family import Family, Input
from napari_mrgen.families.frame_prediction.config import (
    PRESETS,
    FramePredictionConfig,
    FramePredictionGenerateConfig,
)

_CINE_HELP = "Frames of the same slices over time, one file a patient."

FAMILY = Family(
    name="frame_prediction",
    title="Cine frame prediction",
    summary="Learn how hearts move, then continue a cine by any number of frames.",
    paper="After T. Linhardt, VolumetricVideo (2021), https://github.com/tlinhardt/VolumetricVideo",
    package=__name__,
    train_inputs=(Input("cine", "Cine series", ("tzyx",), help=_CINE_HELP, many=True),),
    generate_inputs=(Input("cine", "Cine series", ("tzyx",), help=_CINE_HELP),),
    train_config=FramePredictionConfig,
    generate_config=FramePredictionGenerateConfig,
    presets=PRESETS,
    sample="heart",
)
