"""Layers that napari made over a scan lie in the file where they were drawn, in scanner mm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Shapes

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import plugin
from napari_mrgen.io.layers import from_layer
from napari_mrgen.io.shown import forget_shown

BOX = (slice(5, 9), slice(10, 15), slice(3, 6))


def turned(x: float, y: float, z: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    matrix = np.eye(3)
    for (first, second), angle in zip(((1, 2), (0, 2), (0, 1)), np.radians((x, y, z)), strict=True):
        part = np.eye(3)
        part[[first, second], [first, second]] = np.cos(angle)
        part[first, second], part[second, first] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ part
    return matrix


SCANS = {
    "tilted head": (turned(20, 14, 0), (2, 2, 3)),
    "double-oblique short axis": (turned(55, -38, 10), (1.4, 1.4, 9)),
    "left-handed": (turned(20, 14, 0) @ np.diag([-1, 1, 1]), (2, 2, 3)),
    "sagittal": (turned(0, 0, 0)[:, [2, 0, 1]], (1, 1, 4)),
    "upright": (np.eye(3), (2, 2, 2)),
}


def save_scan(path: Path, kind: str, frames: int = 1) -> Path:
    rotation, spacing = SCANS[kind]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = rotation @ np.diag(spacing), (-20, -30, 10)
    data = np.random.default_rng(0).integers(0, 99, (20, 24, 16, frames)).astype(np.int16)
    data[BOX] = 900
    image = nib.Nifti1Image(data[..., 0] if frames == 1 else data, affine)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    return path


def opened(path: Path, viewer: ViewerModel | None = None) -> tuple[ViewerModel, Any]:
    viewer = viewer or ViewerModel()
    viewer.add_layer(Layer.create(*plugin.read_layers(str(path))[0]))
    return viewer, viewer.layers[-1]


def saved(layer: Layer, path: Path) -> Path:
    return Path(plugin.write_nifti(str(path), [layer.as_layer_data_tuple()])[0])


def centre(path: Path, value: int) -> Any:
    """Return the scanner mm of the middle of a value, which nibabel and SimpleITK agree on."""
    loaded = nib.load(path)
    data = np.asanyarray(loaded.dataobj)
    index = np.argwhere(data == value).mean(0)[:3]
    place = nib.affines.apply_affine(loaded.affine, index)
    image = sitk.ReadImage(str(path))
    index4 = [*index.tolist(), *([0.0] * (image.GetDimension() - 3))]
    by_itk = image.TransformContinuousIndexToPhysicalPoint(index4)[:3]
    np.testing.assert_allclose(np.array(by_itk) * (-1, -1, 1), place, atol=1e-2)
    return place


def draw(image: Any, labels: Any, value: int = 900) -> None:
    for index in np.argwhere(image.data == value):
        place = np.round(labels.world_to_data(image.data_to_world(index))).astype(int)
        labels.data[tuple(place)] = 1


@pytest.mark.parametrize("kind", SCANS)
@pytest.mark.parametrize("frames", [1, 2])
def test_new_labels(kind: str, frames: int, tmp_path: Path) -> None:
    scan = save_scan(tmp_path / "scan.nii.gz", kind, frames)
    viewer, image = opened(scan)
    viewer.layers.selection.active = image
    viewer._new_labels()
    draw(image, viewer.layers[-1])
    drawn = saved(viewer.layers[-1], tmp_path / "drawn.nii.gz")
    np.testing.assert_allclose(centre(drawn, 1), centre(scan, 900), atol=1e-2)


def test_labels_around_several_scans_of_one_orientation(tmp_path: Path) -> None:
    scan = save_scan(tmp_path / "a.nii.gz", "tilted head")
    viewer, image = opened(scan)
    opened(save_scan(tmp_path / "b.nii.gz", "tilted head"), viewer)
    viewer.layers.selection.update(viewer.layers)
    viewer.layers.selection.active = None
    viewer._new_labels()
    draw(image, viewer.layers[-1])
    drawn = saved(viewer.layers[-1], tmp_path / "drawn.nii.gz")
    np.testing.assert_allclose(centre(drawn, 1), centre(scan, 900), atol=1e-2)


def test_shapes_made_labels(tmp_path: Path) -> None:
    scan = save_scan(tmp_path / "scan.nii.gz", "double-oblique short axis")
    _, image = opened(scan)
    z, y, x = (np.unique(axis) for axis in np.nonzero(image.data == 900))
    corners = [[z[0], a, b] for a in (y[0], y[-1]) for b in (x[0], x[-1])]
    shapes = Shapes(
        [np.array([corners[i] for i in (0, 1, 3, 2)], float)],
        scale=image.scale, translate=image.translate, units=image.units,
    )  # fmt: skip
    drawn = Labels(
        shapes.to_labels(image.data.shape),
        scale=image.scale, translate=image.translate, units=image.units,
    )  # fmt: skip
    path = saved(drawn, tmp_path / "drawn.nii.gz")
    marked = np.argwhere(drawn.data)
    middle = image.data_to_world(marked.mean(0))
    inside = nib.affines.apply_affine(
        np.linalg.inv(nib.load(scan).affine), centre(path, int(drawn.data.max()))
    )
    low, high = (np.array([one.start for one in BOX]), np.array([one.stop for one in BOX]))
    assert ((inside >= low - 1) & (inside <= high)).all(), (inside, middle)


def test_a_crop_lies_where_it_was_cut(tmp_path: Path) -> None:
    scan = save_scan(tmp_path / "scan.nii.gz", "tilted head")
    _, image = opened(scan)
    cut = (slice(2, 14), slice(1, 22), slice(3, 19))
    start = image.translate + image.scale * [one.start for one in cut]
    crop = Image(image.data[cut], scale=image.scale, translate=start, units=image.units)
    path = saved(crop, tmp_path / "crop.nii.gz")
    np.testing.assert_allclose(centre(path, 900), centre(scan, 900), atol=1e-2)


def test_over_two_scans_of_different_orientation_it_is_said_which(tmp_path: Path) -> None:
    viewer, _ = opened(save_scan(tmp_path / "tilted.nii.gz", "tilted head"))
    _, image = opened(save_scan(tmp_path / "upright.nii.gz", "upright"), viewer)
    around = Labels(
        np.zeros((60, 60, 60), np.uint8), scale=(4, 4, 4),
        translate=image.translate - 90, units=image.units,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="drawn over 'upright', the last one opened, not tilted"):
        from_layer(around.as_layer_data_tuple())


def test_over_no_scan_it_is_said_that_scans_are_shown_turned(tmp_path: Path) -> None:
    opened(save_scan(tmp_path / "scan.nii.gz", "tilted head"))
    far = Image(np.zeros((3, 4, 5), np.uint8), translate=(900, 900, 900))
    with pytest.warns(UserWarning, match="lies over no scan"):
        from_layer(far.as_layer_data_tuple())
    forget_shown()
    from_layer(far.as_layer_data_tuple())


@pytest.mark.parametrize(
    ("unit", "millimetres"),
    [("nm", 1e-6), ("inch", 25.4), ("um", 1e-3), ("micron", 1e-3), ("cm", 10), ("angstrom", 1e-7)],
)
def test_lengths_in_any_unit(unit: str, millimetres: float, tmp_path: Path) -> None:
    layer = Image(np.ones((3, 4, 5), np.uint8), scale=(2, 1, 1), units=(unit,) * 3)
    zooms = nib.load(saved(layer, tmp_path / "a.nii")).header.get_zooms()
    np.testing.assert_allclose(zooms, np.array((1, 1, 2)) * millimetres, rtol=1e-5)


@pytest.mark.parametrize(("unit", "seconds"), [("us", 1e-6), ("hour", 3600), ("ms", 1e-3)])
def test_times_in_any_unit(unit: str, seconds: float) -> None:
    layer = Image(np.ones((2, 3, 4, 5), np.uint8), units=(unit, "mm", "mm", "mm"))
    times = from_layer(layer.as_layer_data_tuple()).times
    assert times == pytest.approx((0, seconds))


def test_pixels_are_no_millimetres(tmp_path: Path) -> None:
    layer = Image(np.ones((3, 4, 5), np.uint8), scale=(2, 1, 1))
    path = saved(layer, tmp_path / "a.nii")
    header = nib.load(path).header
    assert int(header["xyzt_units"]) & 7 == 0
    assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 0)
    assert plugin.read_layers(str(path))[0][1]["units"] == ("voxel",) * 3


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (("z", "t", "y", "x"), (1, 0, 2, 3)),
        (("x", "y", "z", "t"), (3, 2, 1, 0)),
        (("Time", "Slice", "Row", "Column"), (0, 1, 2, 3)),
    ],
)
def test_axes_are_put_in_order_by_their_labels(
    labels: tuple[str, ...], order: tuple[int, ...]
) -> None:
    array = np.arange(3 * 4 * 5 * 6, dtype=np.int16).reshape(3, 4, 5, 6)
    scale = np.array((2.0, 3.0, 4.0, 5.0))
    units = tuple("s" if label[:1].lower() == "t" else "mm" for label in labels)
    layer = Image(array, axis_labels=labels, scale=scale, units=units)
    volume = from_layer(layer.as_layer_data_tuple())
    np.testing.assert_array_equal(volume.array, array.transpose(order))
    assert volume.axes == "tzyx"
    assert volume.spacing == pytest.approx(tuple(scale[list(order)][1:]))
    assert volume.frame_interval == pytest.approx(scale[order[0]])


def test_two_axes_of_one_label_are_refused() -> None:
    layer = Image(np.ones((3, 4, 5), np.uint8), axis_labels=("x", "y", "x"))
    with pytest.raises(MrgenError, match="labels two axes alike"):
        from_layer(layer.as_layer_data_tuple())


@pytest.mark.parametrize(
    ("most", "stored"), [(1000, np.int16), (100_000, np.int32), (1 << 40, np.float64)]
)
@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_that_other_programs_read(
    most: int, stored: type, dtype: type, tmp_path: Path
) -> None:
    array = np.zeros((3, 4, 5), dtype)
    array[0, 0, 0] = most
    image = nib.load(saved(Image(array), tmp_path / "a.nii"))
    assert image.get_data_dtype() == stored
    assert np.asanyarray(image.dataobj).max() == most
