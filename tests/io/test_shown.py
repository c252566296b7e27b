"""What is made over a scan in napari lies, once saved, where it was drawn: in the scanner's mm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Shapes
from napari.layers._layer_actions import _convert, _project
from nibabel.affines import apply_affine

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.layers import from_layer, to_layer
from napari_mrgen.io.nifti import read, write
from napari_mrgen.io.plugin import read_layers, write_nifti
from napari_mrgen.volume import Volume


def turned(x: float, y: float, z: float, spacing: tuple[float, float, float]) -> np.ndarray:
    """Return an affine that is turned about the scanner's axes, degrees."""
    a, b, c = np.radians((x, y, z))
    about_x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    about_y = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    about_z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    affine = np.eye(4)
    affine[:3, :3] = np.array(about_z) @ about_y @ about_x @ np.diag(spacing)
    affine[:3, 3] = (-20, -35, 12)
    return affine


SHAPES = {
    "tilted head": (turned(20, 14, 0, (2, 2, 3)), (20, 24, 16)),
    "short-axis cine": (turned(55, -38, 10, (1.5, 1.5, 8)), (22, 24, 5, 6)),
    "left-handed": (turned(20, 14, 30, (-2, 2, 3)), (20, 24, 16)),
    "sagittal stack": (turned(3, 88, 5, (1, 1, 6)), (24, 20, 7)),
    "coronal stack along the scanner": (turned(90, 0, 0, (1, 1, 6)), (24, 20, 7)),
    "upright": (np.diag([2.0, 2, 3, 1]), (20, 24, 16)),
}
BOX = (slice(5, 9), slice(10, 15), slice(2, 4))


@pytest.fixture
def scan(tmp_path: Path) -> Callable[[str], Path]:
    """Write a scan that has a bright box, and return its file."""

    def make(name: str, shift: float = 0) -> Path:
        affine, shape = SHAPES[name]
        affine = affine.copy()
        affine[:3, 3] += shift
        data = np.zeros(shape, np.int16)
        data[BOX] = 900
        image = nib.Nifti1Image(data, affine)
        image.header.set_xyzt_units("mm", "msec")
        image.set_qform(affine, 1)
        image.set_sform(affine, 1)
        if len(shape) > 3:
            image.header["pixdim"][4] = 40
        path = tmp_path / f"{name.replace(' ', '_')}_{shift:g}.nii.gz"
        nib.save(image, path)
        return path

    return make


def opened(viewer: ViewerModel, path: Path) -> Layer:
    layer = Layer.create(*read_layers(str(path))[0])
    viewer.add_layer(layer)
    return layer


def new_labels(viewer: ViewerModel, *selected: Layer) -> Labels:
    viewer.layers.selection = set(selected)
    viewer._new_labels()
    return viewer.layers[-1]


def paint(labels: Labels, image: Layer) -> None:
    """Mark the voxels over the bright ones of an image, wherever they are in the viewer."""
    for index in np.argwhere(image.data == 900):
        place = labels.world_to_data(image.data_to_world(index)[-labels.ndim :])
        labels.data[tuple(np.round(place).astype(int))] = 1


def centre(path: Path, value: int) -> np.ndarray:
    image = nib.load(path)
    voxels = np.argwhere(np.asanyarray(image.dataobj) == value)[:, :3]
    return apply_affine(image.affine, voxels.mean(0))


def saved(layer: Layer, scan: Path) -> Path:
    path = scan.with_name("drawn.nii.gz")
    write_nifti(str(path), [layer.as_layer_data_tuple()])
    return path


def distance(layer: Layer, scan: Path) -> float:
    """Save a layer; return how far its 1 are from the bright box of the scan, in mm."""
    return float(np.linalg.norm(centre(saved(layer, scan), 1) - centre(scan, 900)))


@pytest.fixture
def viewer() -> Iterator[ViewerModel]:
    model = ViewerModel()
    yield model
    model.layers.clear()


@pytest.mark.parametrize("name", SHAPES)
def test_new_labels_have_the_very_grid_of_the_scan(
    name: str, scan: Callable[..., Path], viewer: ViewerModel
) -> None:
    path = scan(name)
    image = opened(viewer, path)
    drawn = new_labels(viewer, image)
    paint(drawn, image)
    assert distance(drawn, path) < 1e-3
    mine, theirs = nib.load(path.with_name("drawn.nii.gz")), nib.load(path)
    np.testing.assert_allclose(mine.affine, theirs.affine, atol=1e-4)
    assert mine.shape == theirs.shape
    for code in ("qform_code", "sform_code", "xyzt_units"):
        got, expected = int(mine.header[code]), int(theirs.header[code])
        assert got & 7 == expected & 7
    again = read(path.with_name("drawn.nii.gz"))
    np.testing.assert_array_equal(again.array > 0, read(path).array == 900)
    assert (again.times is None) == (len(theirs.shape) == 3)


def test_of_two_scans_that_on_which_they_lie(
    scan: Callable[..., Path], viewer: ViewerModel
) -> None:
    one, other = scan("tilted head"), scan("short-axis cine")
    first = opened(viewer, one)
    opened(viewer, other)
    drawn = new_labels(viewer, first)
    paint(drawn, first)
    assert distance(drawn, one) < 1e-3


def test_labels_over_several_scans_say_on_which_they_are(
    scan: Callable[..., Path], viewer: ViewerModel
) -> None:
    one, other = scan("tilted head"), scan("left-handed")
    first, last = opened(viewer, one), opened(viewer, other)
    drawn = new_labels(viewer, first, last)
    assert isinstance(drawn, Labels)
    paint(drawn, last)
    with pytest.warns(
        UserWarning, match="over 'left-handed_0', the last one opened, not tilted_head"
    ):
        assert distance(drawn, other) < 2  # On another grid: to the nearest voxel.


def test_a_cine_and_a_volume_of_one_session(scan: Callable[..., Path], viewer: ViewerModel) -> None:
    path = scan("short-axis cine")
    cine = opened(viewer, path)
    still = viewer.add_labels(
        (cine.data[2] == 900).astype(np.uint8), scale=cine.scale[1:], translate=cine.translate[1:]
    )
    assert distance(still, path) < 1e-3
    both = new_labels(viewer, cine, still)
    paint(both, cine)
    assert distance(both, path) < 1e-3


@pytest.mark.parametrize("name", ["tilted head", "short-axis cine", "left-handed"])
def test_part_of_a_scan(name: str, scan: Callable[..., Path], viewer: ViewerModel) -> None:
    path = scan(name)
    image = opened(viewer, path)
    for step in (1, 2):
        corner = np.array([0] * (image.ndim - 3) + [1, 4, 2])
        mask = (image.data == 900)[..., 1:, 4:, 2:-1:step].astype(np.uint8)
        scale = image.scale * ([1] * (image.ndim - 1) + [step])
        part = viewer.add_labels(
            mask, scale=scale, translate=image.translate + image.scale * corner
        )
        away = image.scale[-1] / 2 if step > 1 else 1e-3
        assert distance(part, path) <= away + 1e-3


def test_labels_that_the_user_has_moved(scan: Callable[..., Path], viewer: ViewerModel) -> None:
    path = scan("tilted head")
    image = opened(viewer, path)
    drawn = new_labels(viewer, image)
    paint(drawn, image)
    drawn.translate = drawn.translate + np.array((0.7, 0, 0))
    with pytest.warns(UserWarning, match="saved as drawn over the scan 'tilted_head_0'"):
        assert distance(drawn, path) == pytest.approx(0.7, abs=1e-3)


def test_labels_over_a_scan_that_the_user_has_moved(
    scan: Callable[..., Path], viewer: ViewerModel
) -> None:
    path = scan("tilted head")
    image = opened(viewer, path)
    image.translate = image.translate + np.array((6, 0, 0))
    drawn = new_labels(viewer, image)
    paint(drawn, image)
    with pytest.warns(UserWarning, match="saved as drawn over the scan"):
        assert distance(drawn, path) == pytest.approx(6, abs=1e-3)
    marked = centre(path.with_name("drawn.nii.gz"), 1)
    np.testing.assert_allclose(marked, centre(saved(image, path), 900), atol=1e-3)


def test_labels_in_other_units(scan: Callable[..., Path], viewer: ViewerModel) -> None:
    path = scan("tilted head")
    image = opened(viewer, path)
    drawn = new_labels(viewer, image)
    paint(drawn, image)
    drawn.units = ("um",) * 3
    drawn.scale, drawn.translate = drawn.scale * 1000, drawn.translate * 1000
    assert distance(drawn, path) < 1e-3


def test_shapes_that_became_labels(
    scan: Callable[..., Path], viewer: ViewerModel, tmp_path: Path
) -> None:
    # napari draws the labels from the world's origin on: before it they would be cut off.
    volume = read(scan("tilted head"))
    affine = volume.affine.copy()
    origin = to_layer(volume)[1]["translate"]
    affine[:3, 3] -= (-origin[2] + 1, -origin[1] + 1, -origin[0] + 1)
    path = tmp_path / "moved.nii.gz"
    write(replace(volume, affine=affine), path)
    image = opened(viewer, path)
    places = [image.data_to_world(index) for index in np.argwhere(image.data == 900)]
    (z, *low), (_, *high) = np.min(places, 0), np.max(places, 0)
    shapes = Shapes(ndim=3, scale=image.scale, units=image.units)
    corners = [(z, y, x) for y, x in (low, (low[0], high[1]), high, (high[0], low[1]))]
    shapes.add_polygons([np.array([shapes.world_to_data(corner) for corner in corners])])
    viewer.add_layer(shapes)
    viewer.layers.selection = {shapes}
    _convert(viewer.layers, "labels")
    labels = next(layer for layer in viewer.layers if isinstance(layer, Labels))
    with pytest.warns(UserWarning, match="saved as drawn over the scan"):
        assert distance(labels, path) < 4  # One slice of two, to the nearest voxel.


@pytest.mark.parametrize("axis", range(4))
def test_a_projection_spans_the_scan(
    axis: int, scan: Callable[..., Path], viewer: ViewerModel
) -> None:
    path = scan("short-axis cine")
    image = opened(viewer, path)
    viewer.layers.selection = {image}
    _project(viewer.layers, axis=axis, mode="max")
    made = read(saved(viewer.layers[-1], path))
    source = read(path)
    name = source.axes[axis]
    assert made.size(name) == 1
    box = np.argwhere(made.array[0] == 900 if made.axes == "tzyx" else made.array == 900)
    expected = np.argwhere(source.array[0] == 900).mean(0)
    if name in "zyx":
        place = "zyx".index(name)
        expected[place] = (source.size(name) - 1) / 2
        assert made.spacing[place] == pytest.approx(source.spacing[place] * source.size(name))
    where, there = apply_affine(made.affine, box.mean(0)), apply_affine(source.affine, expected)
    np.testing.assert_allclose(where, there, atol=1e-3)


def test_labels_of_a_scan_that_was_closed(scan: Callable[..., Path], viewer: ViewerModel) -> None:
    path = scan("short-axis cine")
    image = opened(viewer, path)
    drawn = new_labels(viewer, image)
    paint(drawn, image)
    viewer.layers.remove(image)
    del image
    assert distance(drawn, path) < 1e-3


class TestFromElsewhere:
    """What was not made over a scan is not moved onto one."""

    def test_an_array_of_pixels(self, scan: Callable[..., Path], viewer: ViewerModel) -> None:
        opened(viewer, scan("tilted head"))
        with pytest.warns(UserWarning, match="lies over no scan that was opened"):
            volume = from_layer(Image(np.ones((3, 4, 5)), scale=(2, 1, 1)).as_layer_data_tuple())
        assert not volume.spacing_known
        np.testing.assert_array_equal(volume.affine[:3, :3], -np.diag([2.0, 1, 1])[::-1])

    def test_nor_onto_a_scan_that_was_closed(self) -> None:
        affine = turned(20, 14, 0, (1, 1, 1))
        scan = Volume(np.zeros((9, 9, 9), np.int16), "zyx", affine, name="gone")
        _, shown, _ = to_layer(scan)
        del scan
        part = Labels(
            np.ones((4, 4, 4), np.uint8),
            name="part",
            scale=shown["scale"],
            translate=np.array(shown["translate"]) + 1,
        )
        with pytest.warns(UserWarning, match="lies over no scan that was opened"):
            volume = from_layer(part.as_layer_data_tuple())
        np.testing.assert_array_equal(volume.affine[:3, :3], -np.eye(3)[::-1])


def test_labels_keep_the_uneven_times_of_their_cine(tmp_path: Path) -> None:
    affine = turned(55, -38, 10, (1.5, 1.5, 8))
    cine = Volume(np.zeros((3, 2, 8, 8), np.int16), "tzyx", affine, times=(0.0, 0.03, 0.1))
    write(cine, tmp_path / "cine.nii.gz")
    viewer = ViewerModel()
    image = opened(viewer, tmp_path / "cine.nii.gz")
    drawn = new_labels(viewer, image)
    assert from_layer(drawn.as_layer_data_tuple()).times == (0.0, 0.03, 0.1)


@pytest.mark.parametrize(
    ("labels", "shape", "axes", "expected"),
    [
        (("x", "y", "z"), (4, 5, 6), "zyx", (6, 5, 4)),
        (("t", "x", "y", "z"), (3, 4, 5, 6), "tzyx", (3, 6, 5, 4)),
        (("z", "x"), (4, 6), "zyx", (4, 1, 6)),
        (("c", "z", "y", "x"), (1, 4, 5, 6), "zyx", (4, 5, 6)),
        (("z", "y", "x", "channel"), (4, 5, 6, 1), "zyx", (4, 5, 6)),
        (("t", "n", "z", "y", "x"), (2, 3, 4, 5, 6), "ntzyx", (3, 2, 4, 5, 6)),
        (("inferior", "y", "x"), (4, 5, 6), "zyx", (4, 5, 6)),
        (("dim_0", "dim_1", "dim_2"), (4, 5, 6), "zyx", (4, 5, 6)),
    ],
)
def test_axes_by_labels_in_part(
    labels: tuple[str, ...], shape: tuple[int, ...], axes: str, expected: tuple[int, ...]
) -> None:
    layer = Image(np.zeros(shape, np.uint8), axis_labels=labels, rgb=False)
    volume = from_layer(layer.as_layer_data_tuple())
    assert (volume.axes, volume.array.shape) == (axes, expected)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (("y", "x", "lead"), "unclear axis labels"),
        (("t", "n", "x"), "unclear axis labels"),
        (("row", "y", "x"), "two axes alike"),
    ],
)
def test_labels_that_name_no_volume_are_refused(labels: tuple[str, ...], sentence: str) -> None:
    layer = Image(np.zeros((3, 4, 5), np.uint8), axis_labels=labels)
    with pytest.raises(MrgenError, match=sentence):
        from_layer(layer.as_layer_data_tuple())


def test_units_may_differ_by_axis_and_one_that_is_no_length_counts_voxels() -> None:
    data = np.zeros((3, 4, 5), np.uint8)
    layer = Image(data, scale=(2, 500, 0.05), units=("mm", "um", "cm"))
    volume = from_layer(layer.as_layer_data_tuple())
    assert volume.spacing_known
    assert volume.spacing == pytest.approx((2, 0.5, 0.5))
    for unit in ("pixel", "s", "degC"):
        layer = Image(data, scale=(2, 1, 1), units=("mm", "mm", unit))
        assert not from_layer(layer.as_layer_data_tuple()).spacing_known


def test_pixels_look_alike_in_programs_that_guess_the_orientation(tmp_path: Path) -> None:
    # Without a code, nibabel and others take the voxels to run to the left, front and up.
    array = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
    layer = Image(array, scale=(2, 1, 1), translate=(7, 8, 9))
    path = tmp_path / "pixels.nii.gz"
    write_nifti(str(path), [layer.as_layer_data_tuple()])
    stored = nib.load(path)
    assert nib.aff2axcodes(stored.affine) == ("L", "A", "S")
    upper, front, right = array[0], array[:, 0], array[:, :, 0]
    voxels = np.asanyarray(stored.dataobj)
    np.testing.assert_array_equal(voxels[:, ::-1, -1].T, upper)
    np.testing.assert_array_equal(voxels[:, -1, ::-1].T, front)
    np.testing.assert_array_equal(voxels[0, ::-1, ::-1].T, right)
    again = Layer.create(*read_layers(str(path))[0])
    np.testing.assert_array_equal(again.data, array)
    np.testing.assert_allclose(again.data_to_world((0, 0, 0)), (7, 8, 9))


def test_integers_that_no_type_holds_exactly_are_said(tmp_path: Path) -> None:
    array = np.full((3, 4, 5), (1 << 62) + 1)
    with pytest.warns(UserWarning, match="rounded"):
        write(Volume(array, "zyx", np.eye(4), name="large"), tmp_path / "a.nii")
    labels = Volume(array >> 20, "zyx", np.eye(4), "labels")
    write(labels, tmp_path / "a_labels.nii")
    assert nib.load(tmp_path / "a_labels.nii").get_data_dtype() == np.float64
    again = read(tmp_path / "a_labels.nii")
    assert again.kind == "labels"
    np.testing.assert_array_equal(again.array, labels.array)


def test_complex_values_are_refused() -> None:
    layer = ("image", np.ones((3, 4, 5), np.complex64))
    with pytest.raises(MrgenError, match="values of type complex64"):
        from_layer((layer[1], {"name": "k"}, layer[0]))
