"""Frame prediction: from the last frames of a cine, the next ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.family import DataPreview, Exports, Family, Input, Plan
from napari_mrgen.families.frame_prediction.config import (
    PRESETS,
    FramePredictionConfig,
    FramePredictionGenerateConfig,
)
from napari_mrgen.volume import Volume

if TYPE_CHECKING:
    import torch
    from torch import nn

    from napari_mrgen.engine.device import Precision
    from napari_mrgen.engine.exportable import Exportable
    from napari_mrgen.engine.task import Networks, Stage
    from napari_mrgen.metrics.scoreboard import Score

_CINE_HELP = "Frames of the same slices over time, one file a patient."


class FramePrediction(Family[FramePredictionConfig, FramePredictionGenerateConfig], Exports):
    """Predict the next frames of a cine from its last ones."""

    name = "frame_prediction"
    title = "Cine frame prediction"
    summary = "Learn cardiac motion, then predict any number of further frames of a cine."
    paper = (
        "After T. Linhardt, VolumetricVideo (2021), https://github.com/tlinhardt/VolumetricVideo"
    )
    train_inputs = (Input("cine", "Cine series", ("tzyx",), help=_CINE_HELP, many=True),)
    generate_inputs = (Input("cine", "Cine series", ("tzyx",), help=_CINE_HELP),)
    train_config = FramePredictionConfig
    generate_config = FramePredictionGenerateConfig
    presets = PRESETS
    sample = "heart"

    @override
    def networks(
        self, config: FramePredictionConfig, shape: tuple[int, ...]
    ) -> dict[str, nn.Module]:
        from napari_mrgen.families.frame_prediction.networks import predictor_networks

        return predictor_networks(config, shape)

    @override
    def plan(
        self, config: FramePredictionConfig, inputs: Inputs, precision: Precision = "32-true"
    ) -> Plan:
        from napari_mrgen.families.frame_prediction.training import plan_predictor

        return plan_predictor(config, inputs, precision)

    @override
    def preview_data(
        self, config: FramePredictionConfig, inputs: Inputs
    ) -> Iterator[DataPreview | Progress]:
        from napari_mrgen.families.frame_prediction.training import preview_windows

        yield preview_windows(config, inputs)

    @override
    def stages(self, config: FramePredictionConfig, inputs: Inputs) -> Iterator[Stage | Progress]:
        from napari_mrgen.families.frame_prediction.training import predictor_stages

        return predictor_stages(config, inputs)

    @override
    def generate(
        self,
        networks: Networks,
        trained: FramePredictionConfig,
        config: FramePredictionGenerateConfig,
        inputs: Mapping[str, Volume],
        generator: torch.Generator,
        data: Mapping[str, Any],
    ) -> Iterator[Volume]:
        from napari_mrgen.families.frame_prediction.sampling import predict_cine

        return predict_cine(networks, trained, config, inputs, generator, data)

    @override
    def score(
        self, networks: Networks, trained: FramePredictionConfig, inputs: Inputs
    ) -> Iterator[Score]:
        from napari_mrgen.families.frame_prediction.scoring import score_predictions

        return score_predictions(networks, trained, inputs)

    @override
    def exports(self, networks: Networks, trained: FramePredictionConfig) -> Iterator[Exportable]:
        from napari_mrgen.families.frame_prediction.sampling import predictor_exports

        return predictor_exports(networks, trained)


FAMILY = FramePrediction()
