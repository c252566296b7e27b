from __future__ import annotations

import pytest
import torch
from PIL import features
from torch import nn

from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.families.vqvae.config import TINY
from napari_mrgen.families.vqvae.scoring import (
    LEVEL_MEAN,
    LevelMeans,
    jpeg2000,
    score_reconstruction,
    score_slices,
    slice_sets,
)
from napari_mrgen.families.vqvae.training import slice_data
from napari_mrgen.metrics.images import psnr
from napari_mrgen.metrics.scoreboard import WHOLE_SET

Networks = dict[str, nn.Module]


@pytest.fixture
def picture(heads: Inputs) -> torch.Tensor:
    return slice_data(TINY.with_values({"size": 128}), heads).test_slices.images([4])[0]


@pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow was built without JPEG 2000")
class TestJpeg2000:
    def test_more_bytes_are_closer(self, picture: torch.Tensor) -> None:
        figures = [float(psnr(found, picture)) for size in (300, 1000, 4000)
                   if (found := jpeg2000(picture, size)) is not None]  # fmt: skip
        assert len(figures) == 3
        assert figures == sorted(figures)
        assert figures[-1] > 30

    def test_too_few_bytes_are_none(self, picture: torch.Tensor) -> None:
        assert jpeg2000(picture, 20) is None


def test_the_mean_of_a_level_is_of_training_slices_there(heads: Inputs) -> None:
    train = slice_data(TINY, heads).train_slices
    means = LevelMeans(train)
    near = [index for index, level in enumerate(train.levels.tolist()) if 0.3 <= level < 0.4]
    expected = train.images(near).mean(0)
    torch.testing.assert_close(means(torch.tensor([0.35]))[0], expected)


def test_rows_are_by_subject_with_the_trivial_methods(tiny: Networks, heads: Inputs) -> None:
    data = slice_data(TINY, heads)
    found = list(score_reconstruction(tiny, TINY, data.train_slices, data.test_slices))
    assert [score.subject for score in found] == ["2"] * len(found)
    methods = {score.method: score.values for score in found}
    assert {"reconstruction", LEVEL_MEAN} <= methods.keys()
    values = methods["reconstruction"]
    assert {"SSIM", "SSIM in head", "PSNR", "codes used", "perplexity"} <= values.keys()
    assert values["perplexity"] <= values["codes used"] * TINY.codes


def test_rows_by_subject_and_of_the_set_share_no_trivial_method(
    tiny: Networks, heads: Inputs
) -> None:
    rows = list(score_slices(tiny, TINY, heads))
    of_set = {row.method for row in rows if row.subject == WHOLE_SET}
    by_subject = {row.method for row in rows if row.subject != WHOLE_SET}
    assert of_set & by_subject == {"reconstruction"}


def test_without_training_scans_there_is_no_mean_image(tiny: Networks, heads: Inputs) -> None:
    alone = Inputs(heads.references, Split((), ("2",)))
    data = slice_data(TINY, alone)
    found = score_reconstruction(tiny, TINY, data.train_slices, data.test_slices)
    assert LEVEL_MEAN not in {score.method for score in found}
    assert slice_sets(tiny, TINY, alone).train is None


def test_drawn_slices_are_told_what_the_held_out_are(tiny: Networks, heads: Inputs) -> None:
    found = slice_sets(tiny, TINY, heads)
    assert list(found.generated) == ["masked transformer", "reconstruction"]
    drawn = found.generated["masked transformer"]
    assert drawn.images.shape == found.held_out.images.shape
    assert drawn.levels is not None
    assert found.held_out.levels is not None
    assert torch.equal(drawn.levels, found.held_out.levels)
    assert found.generated["reconstruction"].subjects == found.held_out.subjects
