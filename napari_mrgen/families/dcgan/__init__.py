"""Slice generation: new brain slices from noise."""

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
from napari_mrgen.families.dcgan.config import PRESETS, DcganConfig, DcganGenerateConfig
from napari_mrgen.volume import Volume

if TYPE_CHECKING:
    import torch
    from torch import nn

    from napari_mrgen.engine.device import Precision
    from napari_mrgen.engine.exportable import Exportable
    from napari_mrgen.engine.task import Networks, Stage
    from napari_mrgen.metrics.distributions import Sets
    from napari_mrgen.metrics.scoreboard import Score

_SLICES_HELP = "Volumes that are cut into slices, or folders of slices; one subject each."


class Dcgan(Family[DcganConfig, DcganGenerateConfig], Exports, SamplesSets):
    """Slice generation: new brain slices from noise."""

    name = "dcgan"
    title = "Slice generation (GAN)"
    summary = "Learn what brain slices look like, then draw any number of new ones."
    paper = "After A. Agrawal, Shri_GAN (2020), a DCGAN in https://github.com/shakes76/PatternFlow"
    train_inputs = (Input("slices", "Brain slices", ("zyx",), help=_SLICES_HELP, many=True),)
    generate_inputs = ()
    train_config = DcganConfig
    generate_config = DcganGenerateConfig
    presets = PRESETS
    sample = "brain"

    @override
    def networks(self, config: DcganConfig, shape: tuple[int, ...]) -> dict[str, nn.Module]:
        from napari_mrgen.families.dcgan import networks

        return networks.generator_networks(config)

    @override
    def plan(self, config: DcganConfig, inputs: Inputs, precision: Precision = "32-true") -> Plan:
        from napari_mrgen.families.dcgan import training

        return training.plan_slice_gan(config, inputs, precision)

    @override
    def preview_data(self, config: DcganConfig, inputs: Inputs) -> Iterator[DataPreview | Progress]:
        from napari_mrgen.families.dcgan import training

        yield training.preview_gan_data(config, inputs)

    @override
    def stages(self, config: DcganConfig, inputs: Inputs) -> Iterator[Stage | Progress]:
        from napari_mrgen.families.dcgan import training

        return training.slice_gan_stages(config, inputs)

    @override
    def generate(
        self,
        networks: Networks,
        trained: DcganConfig,
        config: DcganGenerateConfig,
        inputs: Mapping[str, Volume],
        generator: torch.Generator,
        data: Mapping[str, Any],
    ) -> Iterator[Volume]:
        from napari_mrgen.families.dcgan import sampling

        return sampling.sample_slices(networks, trained, config, inputs, generator, data)

    @override
    def score(self, networks: Networks, trained: DcganConfig, inputs: Inputs) -> Iterator[Score]:
        from napari_mrgen.families.dcgan import scoring

        return scoring.score_samples(networks, trained, inputs)

    @override
    def sets(self, networks: Networks, trained: DcganConfig, inputs: Inputs) -> Sets:
        from napari_mrgen.families.dcgan import scoring

        return scoring.sample_sets(networks, trained, inputs)

    @override
    def exports(self, networks: Networks, trained: DcganConfig) -> Iterator[Exportable]:
        from napari_mrgen.families.dcgan import sampling

        return sampling.generator_exports(networks, trained)


FAMILY = Dcgan()
