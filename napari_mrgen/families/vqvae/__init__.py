"""VQ-VAE: slices as maps of codes, and a prior that draws new maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.family import (
    DataPreview,
    Exports,
    Family,
    Input,
    Plan,
    SamplesSets,
)
from napari_mrgen.families.vqvae.config import PRESETS, VqVaeConfig, VqVaeGenerateConfig
from napari_mrgen.volume import Volume

if TYPE_CHECKING:
    import torch
    from torch import nn

    from napari_mrgen.engine.device import Precision
    from napari_mrgen.engine.exportable import Exportable
    from napari_mrgen.engine.task import Networks, Stage
    from napari_mrgen.metrics.distributions import Sets
    from napari_mrgen.metrics.scoreboard import Score

_SLICES_HELP = "Volumes or folders of slices; they are cut and chosen by the brain's extent."
_IMAGE_HELP = "Its slices are reconstructed, or completed; without one, new slices are drawn."
_MASK_HELP = "What is marked is drawn anew, to fit the rest; of the image's shape."


class VqVae(Family[VqVaeConfig, VqVaeGenerateConfig], Exports, SamplesSets):
    """VQ-VAE: slices as maps of codes, and a prior that draws new maps."""

    name = "vqvae"
    title = "Slices by VQ-VAE"
    summary = "Learn a codebook of brain slices, then reconstruct, complete or draw them."
    paper = "After PatternFlow 46481326 (2022), https://github.com/shakes76/PatternFlow"
    train_inputs = (Input("slices", "Brain slices", ("zyx",), help=_SLICES_HELP, many=True),)
    generate_inputs = (
        Input("image", "Image", ("zyx",), help=_IMAGE_HELP, optional=True),
        Input("mask", "Part to complete", ("zyx",), help=_MASK_HELP, optional=True, kind="labels"),
    )
    train_config = VqVaeConfig
    generate_config = VqVaeGenerateConfig
    presets = PRESETS
    sample = "brain"

    @override
    def networks(self, config: VqVaeConfig, shape: tuple[int, ...]) -> dict[str, nn.Module]:
        from napari_mrgen.families.vqvae import networks

        return networks.vqvae_networks(config)

    @override
    def plan(self, config: VqVaeConfig, inputs: Inputs, precision: Precision = "32-true") -> Plan:
        from napari_mrgen.families.vqvae import training

        return training.plan_vqvae(config, inputs, precision)

    @override
    def preview_data(self, config: VqVaeConfig, inputs: Inputs) -> Iterator[DataPreview | Progress]:
        from napari_mrgen.families.vqvae import training

        yield training.preview_vqvae_data(config, inputs)

    @override
    def stages(self, config: VqVaeConfig, inputs: Inputs) -> Iterator[Stage | Progress]:
        from napari_mrgen.families.vqvae import training

        return training.vqvae_stages(config, inputs)

    @override
    def generate(
        self,
        networks: Networks,
        trained: VqVaeConfig,
        config: VqVaeGenerateConfig,
        inputs: Mapping[str, Volume],
        generator: torch.Generator,
        data: Mapping[str, Any],
    ) -> Iterator[Volume]:
        from napari_mrgen.families.vqvae import sampling

        return sampling.generate_slices(networks, trained, config, inputs, generator, data)

    @override
    def score(self, networks: Networks, trained: VqVaeConfig, inputs: Inputs) -> Iterator[Score]:
        from napari_mrgen.families.vqvae import scoring

        return scoring.score_slices(networks, trained, inputs)

    @override
    def sets(self, networks: Networks, trained: VqVaeConfig, inputs: Inputs) -> Sets:
        from napari_mrgen.families.vqvae import scoring

        return scoring.slice_sets(networks, trained, inputs)

    @override
    def exports(self, networks: Networks, trained: VqVaeConfig) -> Iterator[Exportable]:
        from napari_mrgen.families.vqvae import export

        return export.vqvae_exports(networks, trained)


FAMILY = VqVae()
