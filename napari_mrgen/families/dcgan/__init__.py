"""Slice generation: new brain slices from noise."""

from __future__ import annotations

from napari_mrgen.engine.family import Family, Input
from napari_mrgen.families.dcgan.config import PRESETS, DcganConfig, DcganGenerateConfig

_SLICES_HELP = "Volumes that are cut into slices, or folders of slices; one subject each."

FAMILY = Family(
    name="dcgan",
    title="Slice generation (GAN)",
    summary="Learn what brain slices look like, then draw any number of new ones.",
    paper="After A. Agrawal, Shri_GAN (2020), a DCGAN in https://github.com/shakes76/PatternFlow",
    package=__name__,
    train_inputs=(Input("slices", "Brain slices", ("zyx",), help=_SLICES_HELP, many=True),),
    generate_inputs=(),
    train_config=DcganConfig,
    generate_config=DcganGenerateConfig,
    presets=PRESETS,
    sample="brain",
)
