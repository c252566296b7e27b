"""Real-time cine reconstruction: from a few spokes a frame to a series without artefacts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.family import DataPreview, Exports, Family, Input, Plan
from napari_mrgen.families.reconstruction.config import (
    PRESETS,
    ReconstructionConfig,
    ReconstructionGenerateConfig,
)
from napari_mrgen.io.find import series_or_scans
from napari_mrgen.volume import Volume

if TYPE_CHECKING:
    import torch
    from torch import nn

    from napari_mrgen.engine.device import Precision
    from napari_mrgen.engine.exportable import Exportable
    from napari_mrgen.engine.task import Networks, Stage
    from napari_mrgen.metrics.scoreboard import Score

_CINE_HELP = "Fully sampled series, one file a patient; from which real-time scans are simulated."
_UNDERSAMPLED_HELP = (
    "In place of cines: series with artefacts, as HDF5 (imagesRecon) or NIfTI, and their truth."
)
_TRUTH_HELP = "The same series without artefacts, in the same order, as HDF5 (imagesTrue) or NIfTI."
_SIMULATED_HELP = "A fully sampled series, from which a real-time scan is simulated."
_ARTEFACTS_HELP = "A series with artefacts, for a model that was trained on such images."
_KSPACE_HELP = "A file of radial k-space (ISMRMRD, BART), or the image that was read from it."
_SERIES = ("tzyx",)


class Reconstruction(Family[ReconstructionConfig, ReconstructionGenerateConfig], Exports):
    """Real-time cine reconstruction: from a few spokes a frame to a series without artefacts."""

    name = "reconstruction"
    title = "Real-time cine reconstruction"
    summary = "Learn to remove the artefacts of undersampled series, consistent with the data."
    paper = (
        "After G. Archie, UNet-MRI-Reconstruction (2020), "
        "https://github.com/g2archie/UNet-MRI-Reconstruction, and Hauptmann et al., Magn Reson Med "
        "81:1143 (2019)"
    )
    train_inputs = (
        Input("cine", "Cine series", _SERIES, help=_CINE_HELP, many=True, optional=True),
        Input(
            "undersampled",
            "Undersampled",
            _SERIES,
            help=_UNDERSAMPLED_HELP,
            many=True,
            optional=True,
            finder=series_or_scans,
        ),
        Input(
            "truth",
            "Truth",
            _SERIES,
            help=_TRUTH_HELP,
            many=True,
            optional=True,
            is_target=True,
            finder=series_or_scans,
        ),
    )
    generate_inputs = (
        Input("cine", "Cine series", _SERIES, help=_SIMULATED_HELP, optional=True),
        Input(
            "undersampled",
            "Undersampled",
            _SERIES,
            help=_ARTEFACTS_HELP,
            optional=True,
            finder=series_or_scans,
        ),
        Input("kspace", "k-space", _SERIES, help=_KSPACE_HELP, optional=True, from_file=True),
    )
    train_config = ReconstructionConfig
    generate_config = ReconstructionGenerateConfig
    presets = PRESETS
    sample = "heart"

    @override
    def networks(
        self, config: ReconstructionConfig, shape: tuple[int, ...]
    ) -> dict[str, nn.Module]:
        from napari_mrgen.families.reconstruction import networks

        return networks.reconstructor_networks(config, shape)

    @override
    def plan(
        self, config: ReconstructionConfig, inputs: Inputs, precision: Precision = "32-true"
    ) -> Plan:
        from napari_mrgen.families.reconstruction import training

        return training.plan_reconstruction(config, inputs, precision)

    @override
    def preview_data(
        self, config: ReconstructionConfig, inputs: Inputs
    ) -> Iterator[DataPreview | Progress]:
        from napari_mrgen.families.reconstruction import training

        yield training.preview_series(config, inputs)

    @override
    def stages(self, config: ReconstructionConfig, inputs: Inputs) -> Iterator[Stage | Progress]:
        from napari_mrgen.families.reconstruction import training

        return training.reconstruction_stages(config, inputs)

    @override
    def generate(
        self,
        networks: Networks,
        trained: ReconstructionConfig,
        config: ReconstructionGenerateConfig,
        inputs: Mapping[str, Volume],
        generator: torch.Generator,
        data: Mapping[str, Any],
    ) -> Iterator[Volume]:
        from napari_mrgen.families.reconstruction import sampling

        return sampling.reconstruct_input(networks, trained, config, inputs, generator, data)

    @override
    def score(
        self, networks: Networks, trained: ReconstructionConfig, inputs: Inputs
    ) -> Iterator[Score]:
        from napari_mrgen.families.reconstruction import scoring

        return scoring.score_reconstructions(networks, trained, inputs)

    @override
    def exports(self, networks: Networks, trained: ReconstructionConfig) -> Iterator[Exportable]:
        from napari_mrgen.families.reconstruction import sampling

        return sampling.reconstructor_exports(networks, trained)

    @override
    def why_no_export(self, trained: ReconstructionConfig) -> str:
        from napari_mrgen.families.reconstruction import sampling

        return sampling.why_no_export(trained)


FAMILY = Reconstruction()
