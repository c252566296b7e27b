from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mrgen.data.heads.brain import (
    Box,
    brain_mask,
    crop,
    finite,
    is_stripped,
    n4,
    otsu,
    union_box,
)
from napari_mrgen.errors import MrgenError
from napari_mrgen.volume import Volume
from tests.data.heads.head_data import head, true_mask

T1, T2 = head(1)
WHOLE = head(1, skull=True)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@settings(max_examples=25, deadline=None)
@given(
    sides=st.tuples(*(st.tuples(st.integers(0, 17), st.integers(18, 36)) for _ in range(3))),
    seed=st.integers(0, 99),
)
def test_a_crop_is_what_is_in_the_box_where_it_was(
    sides: tuple[tuple[int, int], ...], seed: int
) -> None:
    (a, d), (b, e), (c, f) = sides
    box = Box((a, b, c), (d, e, f))
    values = np.random.default_rng(seed).normal(size=T1.array.shape)
    cut = crop(T1.with_array(values), box)
    assert cut.array.shape == box.shape
    assert np.array_equal(cut.array, values[a:d, b:e, c:f])
    shift = np.eye(4)
    shift[:3, 3] = box.start
    assert np.allclose(np.linalg.inv(T1.affine) @ cut.affine, shift)


def test_voxels_stay_where_they_are_when_others_are_cut() -> None:
    sheared = T1.affine @ np.array([[1, 0.1, 0, 0], [0, 1, 0.2, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    box = Box((3, 5, 7), (20, 21, 22))
    cut = crop(replace(T1, affine=sheared), box)
    index = np.array([2, 3, 4, 1])
    shifted = np.array([5, 8, 11, 1])
    assert np.allclose(cut.affine @ index, sheared @ shifted)
    assert cut.array[2, 3, 4] == T1.array[5, 8, 11]


def test_the_box_is_around_all_masks() -> None:
    one, other = np.zeros((2, 10, 12, 14), bool)
    one[3, 4, 5] = other[6, 2, 9] = True
    assert union_box([one, other]) == Box((3, 2, 5), (7, 5, 10))
    assert union_box([one, other], (1, 5, 2)) == Box((2, 0, 3), (8, 10, 12))


def test_a_mask_of_nothing_is_refused() -> None:
    with pytest.raises(MrgenError, match="marks nothing"):
        union_box([np.zeros((4, 4, 4), bool)])


@pytest.mark.parametrize("volume", [T1, T2], ids=["T1w", "T2w"])
def test_without_a_skull_all_that_is_not_zero_is_brain(volume: Volume) -> None:
    assert is_stripped(volume)
    mask = brain_mask(volume)
    assert mask[volume.array != 0].all()
    assert overlap(mask, true_mask()) > 0.99


@pytest.mark.parametrize("volume", WHOLE, ids=["T1w", "T2w"])
def test_the_brain_is_found_in_a_head(volume: Volume) -> None:
    assert not is_stripped(volume)
    assert overlap(brain_mask(volume), true_mask()) > 0.8


def test_a_head_with_its_air_set_to_zero_is_not_stripped() -> None:
    whole = WHOLE[0]
    zeroed = whole.with_array(np.where(whole.array > 100, whole.array, 0))
    wide = zeroed.with_array(np.pad(zeroed.array, 8))
    assert (wide.array == 0).mean() > 0.5
    assert not is_stripped(wide)


def test_values_that_are_not_finite_are_no_brain() -> None:
    holed = T1.array.astype(np.float32)
    holed[:5], holed[20, 20, 20] = np.nan, np.inf
    volume = T1.with_array(holed)
    assert np.isfinite(finite(volume)).all()
    assert overlap(brain_mask(volume), brain_mask(T1)) > 0.99


def test_what_holds_no_brain_is_refused() -> None:
    with pytest.raises(MrgenError, match="same value everywhere"):
        brain_mask(T1.with_array(np.full((8, 8, 8), 5)))
    with pytest.raises(MrgenError, match="axes tzyx; expected one volume"):
        brain_mask(T1.with_array(np.stack([T1.array, T1.array]), "tzyx"))


def test_the_threshold_parts_two_classes() -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.normal(1, 0.2, 9000), generator.normal(4, 0.3, 1000)])
    assert 1.6 < otsu(values.reshape(10, 20, 50)) < 3.4


def test_the_shading_is_taken_out() -> None:
    ramp = np.exp(np.linspace(-0.3, 0.3, T1.array.shape[1]))[:, None]
    shaded = T1.with_array(T1.array * ramp)
    mask = true_mask()
    corrected = n4(shaded, mask, shrink_mm=8)

    def tilt(volume: Volume) -> float:
        ratio = volume.array[mask] / T1.array[mask].clip(1)
        return float(np.polyfit(np.nonzero(mask)[1], ratio, 1)[0])

    assert abs(tilt(corrected)) < abs(tilt(shaded)) / 3
    assert np.array_equal(corrected.affine, T1.affine)
