"""Translation of whole volumes between T1w and T2w, with or without pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.family import (
    ComparesVolumes,
    DataPreview,
    Exports,
    Family,
    Input,
    Plan,
    Roles,
    Survey,
    SurveysData,
)
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.cyclegan.config import (
    CONTRASTS,
    PRESETS,
    CycleGanConfig,
    CycleGanGenerateConfig,
)
from napari_mrgen.io.datasets.contrasts import (
    find_contrast,
    find_masks,
    find_pairs,
    has_contrast,
)
from napari_mrgen.volume import Volume

if TYPE_CHECKING:
    import torch
    from torch import nn

    from napari_mrgen.engine.device import Precision
    from napari_mrgen.engine.exportable import Exportable
    from napari_mrgen.engine.task import Networks, Stage
    from napari_mrgen.metrics.scoreboard import Score
    from napari_mrgen.metrics.volumes import Comparison

_MANY_HELP = "{} volumes; those of one subject are paired by their names."
_PAIRS_HELP = (
    "A folder with both: trainA, trainB, testA and testB (A is T1w), BIDS with _T1w and _T2w, "
    "or files whose names say T1 or T2."
)
_MASK_HELP = "Brain masks, one a subject; without them they are computed from the volumes."
_SOURCE_HELP = "A {} volume to translate; either this or the other."
_INPUT = Input("", "", ("zyx",), optional=True)
_T1, _T2 = (
    replace(_INPUT, role=role, title=title, finder=find_contrast, named=has_contrast)
    for role, title in zip(CONTRASTS, ("T1w", "T2w"), strict=True)
)
_MASK = replace(_INPUT, role="mask", title="Brain mask", kind="labels", finder=find_masks)
_PAIRS = replace(_INPUT, role="pairs", title="Pairs", finder=find_pairs)


class CycleGan(
    Family[CycleGanConfig, CycleGanGenerateConfig], ComparesVolumes, Exports, SurveysData
):
    """Translation of whole volumes between T1w and T2w, with or without pairs."""

    name = "cyclegan"
    title = "T1w to T2w and back"
    summary = "Learn to translate whole volumes between two contrasts, in both directions at once."
    paper = "After A. Perrone, 3D_CycleGAN (2021), https://github.com/perronea/3D_CycleGAN"
    train_inputs = (
        replace(_T1, help=_MANY_HELP.format("T1w"), many=True),
        replace(_T2, help=_MANY_HELP.format("T2w"), many=True),
        replace(_MASK, title="Masks", help=_MASK_HELP, many=True),
        replace(_PAIRS, help=_PAIRS_HELP, many=True),
    )
    generate_inputs = (
        replace(_T1, help=_SOURCE_HELP.format("T1w")),
        replace(_T2, help=_SOURCE_HELP.format("T2w")),
        _MASK,
    )
    train_config = CycleGanConfig
    generate_config = CycleGanGenerateConfig
    presets = PRESETS
    sample = "brain"

    @override
    def networks(self, config: CycleGanConfig, shape: tuple[int, ...]) -> dict[str, nn.Module]:
        from napari_mrgen.families.cyclegan import networks

        return networks.build_translators(config)

    @override
    def plan(
        self, config: CycleGanConfig, inputs: Inputs, precision: Precision = "32-true"
    ) -> Plan:
        from napari_mrgen.families.cyclegan import training

        return training.plan_translation(config, inputs, precision)

    @override
    def savings(self, config: CycleGanConfig) -> Sequence[tuple[str, Mapping[str, Any]]]:
        from napari_mrgen.families.cyclegan import training

        return training.memory_savings(config)

    @override
    def survey(self, config: CycleGanConfig, inputs: Inputs) -> Iterator[Survey | Progress]:
        from napari_mrgen.families.cyclegan import training

        return training.survey_pairs(config, inputs)

    @override
    def preview_data(
        self, config: CycleGanConfig, inputs: Inputs
    ) -> Iterator[DataPreview | Progress]:
        from napari_mrgen.families.cyclegan import training

        return training.preview_translation_data(config, inputs)

    @override
    def stages(self, config: CycleGanConfig, inputs: Inputs) -> Iterator[Stage | Progress]:
        from napari_mrgen.families.cyclegan import training

        return training.translation_stages(config, inputs)

    @override
    def check_inputs(self, references: Roles) -> None:
        missing = [one.title for one in (_T1, _T2) if not references.get(one.role)]
        if missing:
            msg = (
                f"There is no scan for {' and '.join(missing)}: give scans of both contrasts, or a "
                "folder with both."
            )
            raise MrgenError(msg)

    @override
    def source_roles(self, config: CycleGanConfig) -> tuple[str, ...]:
        return tuple(direction.split(" to ")[0] for direction in config.directions)

    @override
    def generate(
        self,
        networks: Networks,
        trained: CycleGanConfig,
        config: CycleGanGenerateConfig,
        inputs: Mapping[str, Volume],
        generator: torch.Generator,
        data: Mapping[str, Any],
    ) -> Iterator[Volume]:
        from napari_mrgen.families.cyclegan import sampling

        return sampling.translate_input(networks, trained, config, inputs, generator, data)

    @override
    def score(self, networks: Networks, trained: CycleGanConfig, inputs: Inputs) -> Iterator[Score]:
        from napari_mrgen.families.cyclegan import scoring

        return scoring.score_translations(networks, trained, inputs)

    @override
    def comparisons(
        self, networks: Networks, trained: CycleGanConfig, inputs: Inputs
    ) -> Iterator[Comparison]:
        from napari_mrgen.families.cyclegan import scoring

        return scoring.compare_translations(networks, trained, inputs)

    @override
    def exports(self, networks: Networks, trained: CycleGanConfig) -> Iterator[Exportable]:
        from napari_mrgen.families.cyclegan import sampling

        return sampling.translators_to_export(networks, trained)


FAMILY = CycleGan()
