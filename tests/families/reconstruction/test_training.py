"""What a training takes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_mrgen import families
from napari_mrgen.app.inputs import gather
from napari_mrgen.data.undersampled import PairedSeries, SimulatedScans
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.training import training_data

FAMILY = families.get("reconstruction")
UNET = ReconstructionConfig(network="unet2d1d")


@pytest.mark.parametrize(
    ("roles", "expected"),
    [(("cine",), SimulatedScans), (("undersampled", "truth"), PairedSeries)],
)
def test_cines_or_pairs(roles: tuple[str, ...], expected: type, hearts: Path) -> None:
    inputs = gather(FAMILY, {role: [hearts] for role in roles}, UNET)
    assert isinstance(training_data(UNET, inputs), expected)


@pytest.mark.parametrize(
    ("roles", "config", "sentence"),
    [
        (("undersampled",), UNET, "or undersampled series and their truth"),
        (("cine", "truth"), UNET, "got cine and truth; give one or the other"),
        (("undersampled", "truth"), ReconstructionConfig(), "choose another network"),
    ],
)
def test_what_does_not_go_together_is_refused(
    roles: tuple[str, ...], config: ReconstructionConfig, sentence: str, hearts: Path
) -> None:
    inputs = gather(FAMILY, {role: [hearts] for role in roles}, config)
    with pytest.raises(MrgenError, match=sentence):
        training_data(config, inputs)
