"""Volume and layer: the way there and back, in napari's own viewer model."""

from __future__ import annotations

import copy
import itertools
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.layers import contrast_limits, from_layer, to_layer
from napari_mrgen.io.nifti import read, write
from napari_mrgen.samples import beating_heart, brain
from napari_mrgen.volume import Volume

CINE, CINE_LABELS = beating_heart(frames=4, slices=3, size=32)
UNTIMED = replace(CINE, times=None, name="untimed")
BRAIN, _ = brain()


def oblique() -> Volume:
    a, b = np.radians(25), np.radians(-40)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = CINE.affine.copy()
    affine[:3] = turn @ tilt @ affine[:3]
    affine[:3, 3] += (20, -35, 50)
    return replace(CINE, affine=affine, name="oblique")


def samples(volume: Volume, count: int = 3) -> Volume:
    return volume.with_array(np.stack([volume.array] * count), "n" + volume.axes, name="samples")


VOLUMES = {
    "cine": CINE,
    "labels": CINE_LABELS,
    "untimed": UNTIMED,
    "oblique": oblique(),
    "3-D": BRAIN,
    "samples": samples(BRAIN, 2),
    "cine samples": replace(samples(CINE), times=CINE.times),
    "uneven": replace(CINE, times=(0.0, 0.1, 0.15, 0.4)),
    "generated": replace(CINE, provenance={"family": "frame_prediction", "seed": 3}),
}


def as_layer(volume: Volume) -> Layer:
    return Layer.create(*to_layer(volume))


def back(layer: Layer) -> Volume:
    return from_layer(layer.as_layer_data_tuple())


@pytest.mark.parametrize("name", VOLUMES)
def test_there_and_back_is_the_identity(name: str) -> None:
    volume = VOLUMES[name]
    again = back(as_layer(volume))
    np.testing.assert_array_equal(again.array, volume.array)
    np.testing.assert_array_equal(again.affine, volume.affine)
    for field in ("axes", "kind", "name", "subject", "times", "provenance"):
        assert getattr(again, field) == getattr(volume, field), field
    for field in ("participant", "cardiac_cycle", "labelled_frames", "samples", "cases", "window"):
        assert getattr(again, field) == getattr(volume, field), field
    assert again.source == volume.source


@pytest.mark.parametrize("name", VOLUMES)
def test_geometry_is_always_set_and_metadata_is_plain(name: str) -> None:
    array, keywords, _ = to_layer(VOLUMES[name])
    for key in ("scale", "translate", "units", "axis_labels"):
        assert len(keywords[key]) == array.ndim
    assert copy.deepcopy(keywords["metadata"]) == keywords["metadata"]
    assert_plain(keywords["metadata"])


def assert_plain(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            assert type(key) is str
            assert_plain(item)
    elif isinstance(value, list | tuple):
        for item in value:
            assert_plain(item)
    else:
        assert value is None or type(value) in (bool, int, float, str, bytes)


class TestInTheViewer:
    @pytest.mark.parametrize(
        "order", [*itertools.permutations(["cine", "untimed", "3-D", "labels"])]
    )
    def test_nobody_drops_the_units_of_the_others(self, order: tuple[str, ...]) -> None:
        viewer = ViewerModel()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for name in order:
                viewer.add_layer(as_layer(VOLUMES[name]))
            units = viewer.layers.extent.units
        assert units is not None
        assert [str(unit) for unit in units[-3:]] == ["millimeter"] * 3
        assert viewer.dims.axis_labels == ("t", "z", "y", "x")

    @pytest.mark.parametrize("extra", ["samples", "cine samples"])
    def test_nor_do_samples(self, extra: str) -> None:
        viewer = ViewerModel()
        for name in ("cine", extra, "3-D"):
            viewer.add_layer(as_layer(VOLUMES[name]))
        assert viewer.layers.extent.units is not None

    def test_frames_without_times_are_not_seconds(self) -> None:
        layer = as_layer(UNTIMED)
        assert str(layer.units[0]) == "frame"
        assert layer.scale[0] == 1
        assert back(layer).times is None

    def test_a_volume_lies_on_the_frame_of_the_cine_that_it_was_taken_from(self) -> None:
        for cine in (CINE, oblique()):
            still = cine.with_array(cine.array[2], "zyx")
            below = cine.with_array(cine.array[:, :, 5:, 7:])
            shifted = below.affine.copy()
            shifted[:3, 3] = (cine.affine @ [0, 5, 7, 1])[:3]
            np.testing.assert_allclose(
                as_layer(still).data_to_world((1, 2, 3)),
                as_layer(cine).data_to_world((0, 1, 2, 3))[1:],
            )
        crop = replace(CINE, array=CINE.array[:, :, 5:, 7:], affine=CINE.affine.copy())
        crop.affine[:3, 3] = (CINE.affine @ [0, 5, 7, 1])[:3]
        np.testing.assert_allclose(
            as_layer(crop).data_to_world((0, 1, 2, 3)), as_layer(CINE).data_to_world((0, 1, 7, 10))
        )

    def test_world_is_minus_sar(self) -> None:
        layer = as_layer(BRAIN)
        right, front, up = (BRAIN.affine @ [10, 20, 30, 1])[:3]
        np.testing.assert_allclose(layer.data_to_world((10, 20, 30)), (-up, -front, -right))

    def test_an_oblique_volume_has_its_centre_in_place(self) -> None:
        volume = oblique()
        centre = (np.array(volume.array.shape[-3:]) - 1) / 2
        right, front, up = (volume.affine @ [*centre, 1])[:3]
        shown = as_layer(volume).data_to_world((0, *centre))[1:]
        np.testing.assert_allclose(shown, (-up, -front, -right))
        assert any(
            "oblique" in note for note in to_layer(volume)[1]["metadata"]["napari_mrgen"]["notes"]
        )


class TestChangedByTheUser:
    @pytest.mark.parametrize("name", ["cine", "oblique"])
    def test_cropped(self, name: str) -> None:
        volume = VOLUMES[name]
        layer = as_layer(volume)
        layer.data = layer.data[:, 1:, 4:, 6:]
        layer.translate = layer.translate + layer.scale * (0, 1, 4, 6)
        np.testing.assert_allclose(
            back(layer).affine @ [0, 0, 0, 1], volume.affine @ [1, 4, 6, 1], atol=1e-9
        )

    def test_cut_in_time(self) -> None:
        layer = as_layer(CINE)
        layer.data = layer.data[1:]
        layer.translate = layer.translate + layer.scale * (1, 0, 0, 0)
        assert CINE.times is not None
        assert back(layer).times == pytest.approx(CINE.times[1:])

    def test_rescaled(self) -> None:
        layer = as_layer(oblique())
        layer.scale = layer.scale * (1, 1, 2, 2)
        assert back(layer).spacing == pytest.approx(
            [s * f for s, f in zip(CINE.spacing, (1, 2, 2), strict=True)]
        )

    @pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")
    def test_rotated_sheared_and_moved_by_an_affine(self) -> None:
        layer = as_layer(BRAIN)
        layer.rotate = (10, 20, 30)
        layer.shear = (0.1, 0, 0.2)
        layer.affine = np.array([[1, 0, 0, 5], [0, 0, 1, 6], [0, -1, 0, 7], [0, 0, 0, 1]])
        affine = back(layer).affine
        for index in ((0, 0, 0), (3, 9, 20)):
            down, back_, left = layer.data_to_world(index)
            np.testing.assert_allclose((affine @ [*index, 1])[:3], (-left, -back_, -down))

    def test_the_time_axis_cannot_be_turned_into_space(self) -> None:
        layer = as_layer(CINE)
        turn = np.eye(4)
        turn[:2, :2] = [[0, -1], [1, 0]]
        layer.rotate = turn
        with pytest.raises(MrgenError, match="time axis"):
            back(layer)

    def test_given_a_frame_time(self) -> None:
        layer = as_layer(UNTIMED)
        layer.units = ("ms", "mm", "mm", "mm")
        layer.scale = (40, *layer.scale[1:])
        assert back(layer).times == pytest.approx((0, 0.04, 0.08, 0.12))

    def test_painted_labels_are_written(self, tmp_path: Path) -> None:
        write(CINE_LABELS, tmp_path / "a_gt.nii.gz")
        layer = as_layer(read(tmp_path / "a_gt.nii.gz"))
        layer.data[0, 0, :4, :4] = 9
        write(back(layer), tmp_path / "b_gt.nii.gz")
        assert (read(tmp_path / "b_gt.nii.gz").array[0, 0, :4, :4] == 9).all()


class TestFromElsewhere:
    def layer(self, shape: tuple[int, ...], **keywords: Any) -> Volume:
        return from_layer((np.zeros(shape, np.float32), keywords, "image"))

    def test_a_plain_array(self) -> None:
        volume = self.layer((4, 5, 6))
        assert volume.axes == "zyx"
        np.testing.assert_array_equal(volume.affine[:3, :3], -np.eye(3)[::-1])

    @pytest.mark.parametrize(
        ("labels", "shape", "axes", "expected"),
        [
            (None, (5, 6), "zyx", (1, 5, 6)),
            (None, (3, 4, 5, 6), "tzyx", (3, 4, 5, 6)),
            (("t", "y", "x"), (3, 5, 6), "tzyx", (3, 1, 5, 6)),
            (("n", "z", "y", "x"), (3, 4, 5, 6), "nzyx", (3, 4, 5, 6)),
            (("-3", "-2", "-1"), (4, 5, 6), "zyx", (4, 5, 6)),
        ],
    )
    def test_axes(
        self,
        labels: tuple[str, ...] | None,
        shape: tuple[int, ...],
        axes: str,
        expected: tuple[int, ...],
    ) -> None:
        volume = self.layer(shape, axis_labels=labels)
        assert (volume.axes, volume.array.shape) == (axes, expected)
        assert volume.times is None

    def test_units_and_scale(self) -> None:
        keywords = {
            "units": ("um", "um", "um"),
            "scale": (1000, 500, 500),
            "translate": (2000, 0, 0),
        }
        volume = self.layer((4, 5, 6), **keywords)
        assert volume.spacing == (1, 0.5, 0.5)
        assert volume.affine[2, 3] == -2

    def test_what_cannot_be_a_volume(self) -> None:
        with pytest.raises(MrgenError, match="colour"):
            self.layer((5, 6, 3), rgb=True)
        with pytest.raises(MrgenError, match="6 axes"):
            self.layer((1,) * 6)
        with pytest.raises(MrgenError, match="points"):
            from_layer((np.zeros((3, 2)), {"name": "p"}, "points"))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((2, 3, 4)), (0, 1)),
        (np.full((2, 3, 4), np.nan), (0, 1)),
        (np.arange(24.0).reshape(2, 3, 4), (0, 23)),
        (np.where(np.arange(10_000).reshape(10, 10, 100) == 7, 5.0, 0.0), (0, 5)),
        (np.full((2, 3, 4), 7, np.uint8), (7, 8)),
    ],
    ids=["zeros", "NaN", "ramp", "one bright voxel", "constant"],
)
def test_contrast_limits(array: np.ndarray[Any, Any], expected: tuple[float, float]) -> None:
    assert contrast_limits(array) == pytest.approx(expected)
