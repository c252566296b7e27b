"""What each figure sees: it gets worse, in order, with more blur, more noise, fewer people."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from napari_mrgen.metrics.distributions import (
    ImageSet,
    Points,
    coverage,
    density,
    frechet,
    kid,
    precision,
    recall,
)
from napari_mrgen.metrics.features import Features
from napari_mrgen.metrics.images import blur, spectral_distance
from napari_mrgen.metrics.matching import best_match, pair_similarity
from napari_mrgen.metrics.scoreboard import WHOLE_SET
from napari_mrgen.metrics.sets import histogram_distance, score_sets

COLUMNS = (
    "KID x1000", "KID low", "KID high", "Frechet", "precision", "recall", "density", "coverage",
    "MS-SSIM", "MS-SSIM real", "best SSIM held-out", "best SSIM trained", "near-copies", "spectrum",
    "histogram",
)  # fmt: skip

STRENGTHS: dict[str, tuple[float, ...]] = {
    "blur": (0.0, 0.6, 1.0, 2.0),
    "noise": (0.0, 0.05, 0.1, 0.2),
    "modes": (10, 3, 1),
}
SEES = {
    "KID": ("blur", "noise", "modes"),
    "Frechet": ("blur", "noise", "modes"),
    "recall": ("blur", "noise", "modes"),
    "coverage": ("blur", "noise", "modes"),
    "precision": ("blur", "noise"),  # A few faithful copies are precise.
    "density": ("blur", "noise"),
    "spectrum": ("blur", "noise"),  # Of one person as of many.
    "histogram": ("blur", "noise"),
    "MS-SSIM": ("modes",),  # Blur makes images alike, noise makes them differ.
    "best SSIM": ("noise",),  # Blur makes it better: why it is no measure of quality.
}
HIGH_IS_BAD = {"KID", "Frechet", "spectrum", "histogram", "MS-SSIM"}


def harmed(images: ImageSet, how: str, strength: float) -> ImageSet:
    if how == "modes":
        names = list(dict.fromkeys(images.subjects))[: int(strength)]
        kept = [i for i, name in enumerate(images.subjects) if name in names]
        return ImageSet(images.images[(kept * len(images))[: len(images)]])
    if how == "blur":
        changed = blur(images.images, strength)
    else:
        noise = torch.randn(images.images.shape, generator=torch.Generator().manual_seed(0))
        changed = (images.images + strength * noise).clamp(0, 1)
    return ImageSet(changed, images.subjects, images.levels)


@pytest.fixture(scope="module")
def figure(heads) -> Callable[[str, str, float], float]:
    """Take one figure of the training slices, harmed, beside the held-out ones."""
    train, held_out = heads
    features = Features.fit(train.images)
    real = Points(features(held_out.images), held_out.subjects)
    of_points: dict[str, Any] = {
        "KID": kid, "recall": recall, "coverage": coverage, "precision": precision,
        "density": density, "Frechet": lambda a, b: frechet(a.values, b.values),
    }  # fmt: skip
    of_images: dict[str, Any] = {
        "spectrum": lambda made: spectral_distance(made.images, held_out.images),
        "histogram": lambda made: histogram_distance(made.images, held_out.images),
        "MS-SSIM": pair_similarity,
        "best SSIM": lambda made: best_match(made.thin(16), held_out)[0].mean(),
    }

    @functools.cache
    def points(how: str, strength: float) -> Points:
        made = harmed(train, how, strength)
        return Points(features(made.images), made.subjects)

    def take(name: str, how: str, strength: float) -> float:
        if name in of_points:
            return float(of_points[name](points(how, strength), real))
        return float(of_images[name](harmed(train, how, strength)))

    return take


@pytest.mark.parametrize(("name", "how"), [(n, how) for n, seen in SEES.items() for how in seen])
def test_it_gets_worse_in_order(figure, name, how):
    found = [figure(name, how, strength) for strength in STRENGTHS[how]]
    assert found == sorted(found, reverse=name not in HIGH_IS_BAD)
    assert abs(found[-1] - found[0]) > 0.15 * abs(found[0])


def test_histogram_distance_of_a_shift_is_the_shift():
    images = torch.linspace(0, 0.5, 64).view(1, 8, 8)
    assert histogram_distance(images, images + 0.25) == pytest.approx(0.25, abs=1 / 256)
    assert histogram_distance(images, images.flip(-1)) == 0


@pytest.fixture(scope="module")
def board(heads) -> dict[str, dict[str, float]]:
    train, held_out = (images.take(range(0, len(images), 2)) for images in heads)
    made = {"a model": ImageSet(held_out.images.roll(1, -1)), "copies": ImageSet(train.images)}
    scores = list(score_sets(made, held_out, train))
    assert {score.subject for score in scores} == {WHOLE_SET}
    return {score.method: dict(score.values) for score in scores}


def test_trivial_sets_stand_beside_what_was_made(board):
    assert list(board) == ["a model", "copies", "real, trained on", "mean image", "blurred real"]
    assert all(tuple(figures) == COLUMNS for figures in board.values())


def test_real_slices_are_the_ceiling(board):
    ceiling = board["real, trained on"]
    for name in ("mean image", "blurred real"):
        assert board[name]["KID x1000"] > ceiling["KID high"]
        assert board[name]["coverage"] < ceiling["coverage"]
    assert ceiling["KID low"] < 0 < ceiling["KID high"]


def test_copies_stand_out(board):
    copies, ceiling = board["copies"], board["real, trained on"]
    assert copies["near-copies"] == 1
    assert ceiling["near-copies"] <= 0.1
    assert copies["best SSIM trained"] - copies["best SSIM held-out"] > 0.1
    assert abs(ceiling["best SSIM trained"] - ceiling["best SSIM held-out"]) < 0.05


def test_without_training_slices_what_needs_them_is_left_out(heads):
    held_out = heads[1].take(range(0, len(heads[1]), 2))
    (score, *rest) = score_sets({"a model": ImageSet(held_out.images)}, held_out)
    assert set(COLUMNS) - set(score.values) == {"best SSIM trained", "near-copies"}
    assert [row.method for row in rest] == ["mean image", "blurred real"]


def test_of_one_person_only_what_can_be_said_is_said(heads):
    train, held_out = heads
    alone = held_out.take(range(8))
    (score, *_) = score_sets({"a model": train.take(range(20))}, alone, train.take(range(20)))
    missing = set(COLUMNS) - set(score.values)
    assert {"KID x1000", "precision", "MS-SSIM real"} <= missing
    assert {"Frechet", "near-copies", "histogram"} <= set(score.values)


def test_the_same_sets_have_the_same_figures(heads):
    held_out = heads[1].take(range(16))
    made = {"a model": ImageSet(held_out.images.flip(-1))}
    one, other = (list(score_sets(made, held_out, seed=3)) for _ in range(2))
    assert one == other


def test_single_slices_can_be_judged(heads):
    train, held_out = (images.take([0]) for images in heads)
    for known in (train, heads[0].take([0, 1]), None):
        (score, *_) = score_sets({"a model": ImageSet(train.images)}, held_out, known)
        assert "best SSIM held-out" in score.values
