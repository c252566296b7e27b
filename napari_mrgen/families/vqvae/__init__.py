"""VQ-VAE: slices as maps of codes, and a prior that draws new maps."""

from __future__ import annotations

from napari_mrgen.engine.family import Family, Input
from napari_mrgen.families.vqvae.config import PRESETS, VqVaeConfig, VqVaeGenerateConfig

_SLICES_HELP = "Volumes or folders of slices; they are cut and chosen by the brain's extent."
_IMAGE_HELP = "Its slices are reconstructed, or completed; without one, new slices are drawn."
_MASK_HELP = "What is marked is drawn anew, to fit the rest; of the image's shape."

FAMILY = Family(
    name="vqvae",
    title="Slices by VQ-VAE",
    summary="Learn a codebook of brain slices, then reconstruct, complete or draw them.",
    paper="After PatternFlow 46481326 (2022), https://github.com/shakes76/PatternFlow",
    package=__name__,
    train_inputs=(Input("slices", "Brain slices", ("zyx",), help=_SLICES_HELP, many=True),),
    generate_inputs=(
        Input("image", "Image", ("zyx",), help=_IMAGE_HELP, optional=True),
        Input("mask", "Part to complete", ("zyx",), help=_MASK_HELP, optional=True, kind="labels"),
    ),
    train_config=VqVaeConfig,
    generate_config=VqVaeGenerateConfig,
    presets=PRESETS,
    sample="brain",
)
