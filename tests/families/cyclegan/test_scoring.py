"""Model and baselines are scored on the same held-out heads, in the brain first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor, nn

from napari_mrgen import families
from napari_mrgen.app.inputs import find_all
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.families.cyclegan.scoring import (
    Heads,
    HistogramMatch,
    LookupTable,
    compare_translations,
    score_translations,
)
from napari_mrgen.metrics.scoreboard import Score, tabulate
from tests.data.heads.head_data import SPACING, head, write_pair

TINY = families.get("cyclegan").preset("tiny")
NAMES = ("a", "b", "c")
METHODS = ("model", "lookup table", "matched histogram", "unchanged")


class Mapping(nn.Module):
    """What turns the contrast of the heads below, or leaves it."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.turns = slope > 0
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, volume: Tensor) -> Tensor:
        turned = 0.2 + 0.8 - self.slope * volume
        return torch.where(volume > 0, turned, volume) if self.turns else volume


TRUE = {"t1_to_t2": Mapping(0.8), "t2_to_t1": Mapping(0.8)}
LAZY = {"t1_to_t2": Mapping(0.0), "t2_to_t1": Mapping(0.0)}


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("heads")
    for seed, name in enumerate(NAMES):
        write_pair(folder, name, head(seed))
    found = find_all(families.get("cyclegan").train_inputs, {"pairs": [folder]})
    return Inputs(found, Split(("a", "b"), ("c",)))


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MRGEN_CACHE", str(tmp_path))


def scores(heads: Inputs, networks: dict[str, nn.Module]) -> list[Score]:
    return list(score_translations(networks, TINY, heads))


def test_every_direction_has_the_model_and_the_baselines(heads):
    board = tabulate(scores(heads, LAZY))
    wanted = [f"{contrast}: {method}" for contrast in ("T2w", "T1w") for method in METHODS]
    assert [row.method for row in board.rows] == wanted
    assert all(row.subjects == 1 for row in board.rows)
    assert list(board.columns)[:2] == ["PSNR in brain", "SSIM in brain"]


def test_a_network_that_does_nothing_scores_as_the_source_does(heads):
    board = tabulate(scores(heads, LAZY))
    for contrast in ("T2w", "T1w"):
        lazy, unchanged = (board.row(f"{contrast}: {m}").mean for m in ("model", "unchanged"))
        assert {name: lazy[name] for name in unchanged} == dict(unchanged)


def test_methods_that_know_the_contrast_are_better(heads):
    board = tabulate(scores(heads, LAZY))
    for contrast in ("T2w", "T1w"):
        psnr = {m: board.row(f"{contrast}: {m}").mean["PSNR in brain"] for m in METHODS}
        assert psnr["lookup table"] > psnr["unchanged"] + 3
        assert psnr["lookup table"] > psnr["matched histogram"]


def test_the_model_is_scored_after_both_directions_too(heads):
    (found,) = [s for s in scores(heads, TRUE) if s.method == "T2w: model"]
    assert found.values["cycle PSNR in brain"] > 15
    one_way = {"t1_to_t2": LAZY["t1_to_t2"]}
    assert not any("cycle" in name for s in scores(heads, one_way) for name in s.values)
    assert {s.method[:3] for s in scores(heads, one_way)} == {"T2w"}


def test_new_heads_have_no_methods_that_must_learn(heads):
    everyone = Inputs(heads.references, Split((), NAMES))
    board = tabulate(scores(everyone, LAZY))
    assert [row.method for row in board.rows][:2] == ["T2w: model", "T2w: unchanged"]
    assert board.rows[0].subjects == 3


def test_a_head_with_one_contrast_has_the_way_back_alone(heads):
    t1 = heads.references["t1"]
    t2 = heads.references["t2"][:2]
    found = scores(Inputs({"t1": t1, "t2": t2}, heads.split), LAZY)
    assert [(s.method, s.subject, list(s.values)) for s in found] == [
        ("T2w: model", "c", ["cycle PSNR in brain"])
    ]


def test_heads_are_those_of_the_split(heads):
    found = Heads.of(TINY, heads)
    assert [pair.subject for pair in found.train] == ["a", "b"]
    assert [pair.subject for pair in found.test] == ["c"]
    alone = Heads.of(TINY, Inputs(heads.references, Split(NAMES, ())))
    assert alone.train == alone.test


def test_comparisons_are_of_both_directions(heads):
    found = list(compare_translations(LAZY, TINY, heads))
    assert [(one.title, one.subject) for one in found] == [("T2w", "c"), ("T1w", "c")]
    for one in found:
        assert one.synthetic.shape == one.real.shape == one.mask.shape
        assert torch.equal(one.synthetic, one.source)
        assert one.spacing == pytest.approx((SPACING,) * 3)


# ---- baselines -----------------------------------------------------------------------------------

SHAPE = (4, 6, 5)
EVERYWHERE = np.ones(SHAPE, bool)
images = arrays.arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32))


def an_image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE, np.float32)


@given(images, images)
def test_no_other_map_of_the_bins_is_nearer_to_the_training_targets(source, target):
    table = LookupTable.fit([(source, target, EVERYWHERE)])
    error = np.square(table(source, EVERYWHERE) - target).mean()
    for other in (source, np.full_like(source, target.mean())):
        binned = np.square(other - target).mean()
        assert error <= binned + 1 / 128


def test_a_map_of_intensities_is_found():
    sources = [an_image(seed) for seed in range(20)]
    table = LookupTable.fit([(image, 1 - image, EVERYWHERE) for image in sources])
    unseen = an_image(99)
    np.testing.assert_allclose(table(unseen, EVERYWHERE), 1 - unseen, atol=1 / 64)


def test_bins_never_seen_take_their_neighbours_value():
    source = np.where(an_image() < 0.5, 0.2, 0.6).astype(np.float32)
    table = LookupTable.fit([(source, 2 * source, EVERYWHERE)])
    between = table(np.full(SHAPE, 0.4, np.float32), EVERYWHERE)
    assert 0.4 < between.mean() < 1.2
    beyond = table(np.full(SHAPE, 3.0, np.float32), EVERYWHERE)
    np.testing.assert_allclose(beyond, 1.2, atol=1e-6)


def test_matching_gives_the_distribution_of_the_targets():
    target = an_image(1) ** 2
    match = HistogramMatch.fit([(target, EVERYWHERE)])
    found = match(an_image(2), EVERYWHERE)
    np.testing.assert_allclose(np.sort(found, None), np.sort(target, None), atol=5e-3)


def test_matching_to_itself_changes_nothing():
    image = an_image(3)
    match = HistogramMatch.fit([(image, EVERYWHERE)])
    np.testing.assert_allclose(match(image, EVERYWHERE), image, atol=1e-5)


@pytest.mark.parametrize(
    "method",
    [
        LookupTable.fit([(an_image(0), an_image(1), EVERYWHERE)]),
        HistogramMatch.fit([(an_image(1), EVERYWHERE)]),
    ],
)
def test_what_is_outside_the_mask_stays_and_is_not_looked_at(method):
    image, mask = an_image(4), an_image(5) > 0.5
    made = method(image, mask)
    np.testing.assert_array_equal(made[~mask], image[~mask])
    other = method(np.where(mask, image, 7).astype(np.float32), mask)
    np.testing.assert_array_equal(other[mask], made[mask])
    assert made.dtype == np.float32


def test_nothing_to_learn_from_is_said():
    with pytest.raises(ValueError, match="at least one voxel"):
        LookupTable.fit([])
    with pytest.raises(ValueError, match="at least one training target"):
        HistogramMatch.fit([])
