from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_mrgen.data.heads.brain import Box, crop
from napari_mrgen.data.heads.registration import (
    field_of_view,
    is_same_grid,
    moved,
    onto_grid,
    register_rigid,
)
from napari_mrgen.volume import Volume
from tests.data.heads.head_data import head, rigid, true_mask

T1, T2 = head(2)


def found_by(fixed: Volume, moving: Volume) -> tuple[np.ndarray, list[float]]:
    """Return the rigid matrix that is found, and the shares that were yielded on the way."""
    steps, shares = register_rigid(fixed, moving), []
    while True:
        try:
            shares.append(next(steps))
        except StopIteration as done:
            return np.asarray(done.value), shares


def test_on_its_own_grid_a_volume_is_returned_as_it_is() -> None:
    assert onto_grid(T2, T1) is T2


def test_a_part_lies_on_the_whole_where_it_was_cut() -> None:
    box = Box((4, 6, 8), (30, 36, 28))
    back = onto_grid(crop(T1, box), T1)
    assert np.allclose(back.array[box.slices], T1.array[box.slices], atol=1e-2)
    outside = np.ones(T1.array.shape, bool)
    outside[box.slices] = False
    assert not back.array[outside].any()


def test_the_whole_on_the_grid_of_a_part_is_the_part() -> None:
    part = crop(T1, Box((4, 6, 8), (30, 36, 28)))
    assert np.allclose(onto_grid(T1, part).array, part.array, atol=1e-2)


def test_labels_keep_their_values_on_another_grid() -> None:
    labels = T1.with_array(true_mask() * 7, kind="labels")
    turned = moved(T1, rigid((10, 0, 5), (3, 2, 1)))
    assert set(np.unique(onto_grid(labels, turned).array)) == {0, 7}


def test_larger_voxels_are_averages_and_not_samples() -> None:
    noise = T1.with_array(np.random.default_rng(0).normal(size=T1.array.shape))
    scale = np.diag([3.0, 3.0, 3.0, 1.0])
    coarse = Volume(np.zeros((13, 15, 12)), "zyx", T1.affine @ scale)
    assert onto_grid(noise, coarse).array.std() < 0.5


def test_what_was_seen_is_marked() -> None:
    box = Box((4, 6, 8), (30, 36, 28))
    seen = field_of_view(crop(T1, box), T1)
    assert seen[box.slices].all()
    assert seen.sum() == np.prod(box.shape)


def test_grids_are_compared_at_their_corners() -> None:
    nearly = T1.affine.copy()
    nearly[0, 3] += 0.001
    assert is_same_grid(T1, replace(T2, affine=nearly))
    nearly[0, 2] *= 1.001  # 0.15 mm at the far side
    assert not is_same_grid(T1, replace(T2, affine=nearly))


@pytest.mark.parametrize(
    ("degrees", "shift"),
    [((8, -5, 6), (6, -9, 4)), ((3, 2, -4), (150, 40, -90))],
    ids=["moved", "elsewhere"],
)
def test_a_known_movement_is_found(
    degrees: tuple[float, float, float], shift: tuple[float, float, float]
) -> None:
    """Within 1 mm everywhere in the brain, and 1 degree; also where the two do not touch at all."""
    known = rigid(degrees, shift)
    left = found_by(T1, moved(T2, known))[0] @ known
    corners = T1.affine @ np.array([*np.argwhere(true_mask()).T, np.ones(true_mask().sum())])
    assert np.linalg.norm((left @ corners - corners)[:3], axis=0).max() < 1
    angle = np.arccos(np.clip((np.trace(left[:3, :3]) - 1) / 2, -1, 1))
    assert np.rad2deg(angle) < 1


def test_a_sheared_volume_is_registered_too() -> None:
    shear = np.eye(4)
    shear[0, 1] = 0.1
    there = Volume(np.zeros((44, 50, 46)), "zyx", T1.affine @ shear)
    sheared = onto_grid(T2, there)
    assert np.abs(found_by(T1, sheared)[0] - np.eye(4))[:3, :3].max() < 0.02


def test_what_was_registered_lies_on_the_fixed_grid() -> None:
    away = moved(T2, rigid((4, 0, -3), (5, 3, 0)))
    found, shares = found_by(T1, away)
    result = onto_grid(moved(away, found), T1)
    assert result.array.shape == T1.array.shape
    assert np.array_equal(result.affine, T1.affine)
    assert np.corrcoef(result.array[true_mask()], T2.array[true_mask()])[0, 1] > 0.9
    assert shares == sorted(shares)
    assert shares[-1] == 1
