"""Real-time cine reconstruction: from a few spokes a frame to a series without artefacts."""

from __future__ import annotations

from napari_mrgen.engine.family import Family, Input
from napari_mrgen.families.reconstruction.config import (
    PRESETS,
    ReconstructionConfig,
    ReconstructionGenerateConfig,
)

_CINE_HELP = "Fully sampled series, one file a patient; a real-time scan of them is simulated."
_UNDERSAMPLED_HELP = (
    "In place of a cine: series with artefacts, as HDF5 (imagesRecon) or NIfTI, and their truth."
)
_TRUTH_HELP = "The same series without artefacts, in the same order, as HDF5 (imagesTrue) or NIfTI."
_TRY_HELP = "A fully sampled series to try the model on: its real-time scan is simulated."
_ARTEFACTS_HELP = "A series with artefacts, for a model that was trained on such images."
_KSPACE_HELP = "A file of radial k-space (ISMRMRD, BART), or the image that was read from it."
_SERIES = ("tzyx",)

FAMILY = Family(
    name="reconstruction",
    title="Real-time cine reconstruction",
    summary="Learn to remove the artefacts of undersampled series, true to what was measured.",
    paper=(
        "After G. Archie, UNet-MRI-Reconstruction (2020), "
        "https://github.com/g2archie/UNet-MRI-Reconstruction, and Hauptmann et al., Magn Reson Med "
        "81:1143 (2019)"
    ),
    package=__name__,
    train_inputs=(
        Input("cine", "Cine series", _SERIES, help=_CINE_HELP, many=True, optional=True),
        Input(
            "undersampled", "Undersampled", _SERIES,
            help=_UNDERSAMPLED_HELP, many=True, optional=True,
        ),
        Input("truth", "Truth", _SERIES, help=_TRUTH_HELP, many=True, optional=True),
    ),
    generate_inputs=(
        Input("cine", "Cine series", _SERIES, help=_TRY_HELP, optional=True),
        Input("undersampled", "Undersampled", _SERIES, help=_ARTEFACTS_HELP, optional=True),
        Input(
            "kspace", "k-space", _SERIES, help=_KSPACE_HELP, optional=True, from_file=True
        ),
    ),
    train_config=ReconstructionConfig,
    generate_config=ReconstructionGenerateConfig,
    presets=PRESETS,
    sample="heart",
)  # fmt: skip
