"""Masks mark the voxels that one sees them over, whatever the layers' transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Shapes

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.layers import to_layer
from napari_mrgen.io.masks import mask_of_shapes, mask_on_grid
from napari_mrgen.volume import Array, Volume

AFFINE = np.array([[0, 0, -1.5, 20], [0, -1.25, 0, 30], [-4, 0, 0, 9], [0, 0, 0, 1.0]])
IMAGE = Volume(np.zeros((5, 40, 32), np.float32), "zyx", AFFINE, name="brain", subject="one")


def place(points: Any) -> Array:
    """Return voxel indices as world coordinates of the shown image."""
    data, keywords, _ = to_layer(IMAGE)
    layer = Image(data, **keywords)
    return np.array([layer.data_to_world(point) for point in np.asarray(points, float)])


def drawn(shapes: list[Array], kinds: list[str] | str, **keywords: Any) -> Array:
    layer = Shapes(shapes, shape_type=kinds, name="mask", **keywords)
    mask = mask_of_shapes(layer.as_layer_data_tuple(), IMAGE)
    assert (mask.kind, mask.axes, mask.subject) == ("labels", "zyx", "one")
    np.testing.assert_array_equal(mask.affine, AFFINE)
    return mask.array


def box(z: float, top: float, bottom: float, left: float, right: float) -> list[list[float]]:
    return [[z, top, left], [z, top, right], [z, bottom, right], [z, bottom, left]]


def test_a_rectangle_marks_its_slice_alone() -> None:
    mask = drawn([place(box(2, 9.5, 19.5, 4.5, 14.5))], "rectangle")
    expected = np.zeros_like(mask)
    expected[2, 10:20, 5:15] = 1
    np.testing.assert_array_equal(mask, expected)


def test_a_scaled_layer_marks_what_it_is_seen_over() -> None:
    """napari's own button makes a layer with the step of the others as its scale."""
    world = place(box(2, 9.5, 19.5, 4.5, 14.5))
    scale = (4.0, 1.25, 1.5)
    plain = drawn([world], "rectangle")
    scaled = drawn([world / scale], "rectangle", scale=scale)
    np.testing.assert_array_equal(scaled, plain)


def test_an_ellipse_fills_the_share_of_its_box_that_it_should() -> None:
    mask = drawn([place(box(0, 4.5, 34.5, 1.5, 29.5))], "ellipse")
    assert mask[0].sum() == pytest.approx(np.pi / 4 * 30 * 28, rel=0.02)
    assert not mask[0, 5, 2]


def test_several_shapes_make_one_mask() -> None:
    triangle = place([[1, 5, 5], [1, 20, 5], [1, 20, 20]])
    square = place(box(3, 9.5, 19.5, 4.5, 14.5))
    mask = drawn([triangle, square], ["polygon", "rectangle"])
    assert [bool(one.any()) for one in mask] == [False, True, False, True, False]
    assert mask.max() == 1


def test_overlapping_shapes_do_not_cancel() -> None:
    square = place(box(3, 9.5, 19.5, 4.5, 14.5))
    assert drawn([square, square], "rectangle").sum() == 100


def test_a_flat_layer_marks_all_slices() -> None:
    corners = place(box(0, 9.5, 19.5, 4.5, 14.5))[:, 1:]
    mask = drawn([corners], "rectangle")
    assert (mask[:, 10:20, 5:15] == 1).all()
    assert mask.sum() == 5 * 100


def test_a_shape_may_be_drawn_in_another_plane() -> None:
    sagittal = place([[0.5, 9.5, 7], [0.5, 19.5, 7], [3.5, 19.5, 7], [3.5, 9.5, 7]])
    mask = drawn([sagittal], "polygon")
    assert (mask[1:4, 10:20, 7] == 1).all()
    assert mask.sum() == 30


@pytest.mark.parametrize(
    ("points", "kind", "said"),
    [
        ([[0, 1, 1], [0, 5, 5]], "line", "marks nothing"),
        (box(0, 50.0, 60.0, 50.0, 60.0), "rectangle", "marks nothing"),
        ([[0, 1, 1], [4, 20, 1], [2, 20, 30]], "polygon", "across slices"),
    ],
)
def test_what_marks_nothing_is_said(points: Any, kind: str, said: str) -> None:
    with pytest.raises(MrgenError, match=said):
        drawn([place(points)], kind)


def labels(array: Array, affine: Array) -> Volume:
    return Volume(array, "zyx", affine, "labels", "mask")


def test_labels_on_the_same_grid_stay_what_they_are() -> None:
    mask = labels(np.ones(IMAGE.array.shape, np.uint8), AFFINE)
    assert mask_on_grid(mask, IMAGE) is mask


def test_labels_of_a_larger_grid_are_cut_to_the_image() -> None:
    large = np.zeros((7, 50, 40), np.uint8)
    large[3, 15:25, 9:19] = 2
    shift = np.eye(4)
    shift[:3, 3] = (-1, -5, -4)
    mask = mask_on_grid(labels(large, AFFINE @ shift), IMAGE)
    expected = np.zeros(IMAGE.array.shape, np.uint8)
    expected[2, 10:20, 5:15] = 2
    np.testing.assert_array_equal(mask.array, expected)
    np.testing.assert_array_equal(mask.affine, AFFINE)


def test_labels_with_all_axes_of_the_viewer_count_where_any_is_set() -> None:
    array = np.zeros((3, *IMAGE.array.shape), np.uint8)
    array[0, 1, 4, 4] = array[2, 3, 9, 9] = 1
    mask = mask_on_grid(Volume(array, "tzyx", AFFINE, "labels"), IMAGE)
    assert mask.axes == "zyx"
    assert np.argwhere(mask.array).tolist() == [[1, 4, 4], [3, 9, 9]]


def test_labels_that_lie_elsewhere_are_refused() -> None:
    shift = np.eye(4)
    shift[:3, 3] = 500
    with pytest.raises(MrgenError, match="lie elsewhere"):
        mask_on_grid(labels(np.ones((5, 5, 5), np.uint8), AFFINE @ shift), IMAGE)
