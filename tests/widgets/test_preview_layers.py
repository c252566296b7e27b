"""Previews of a run in the viewer: by name, comparable, side by side and in 3-D."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_mrgen.volume import Volume
from napari_mrgen.widgets.preview_layers import DIFFERENCE, PreviewLayers, add_volume

AFFINE = np.diag([8.0, 1.5, 1.25, 1.0])[:, [2, 1, 0, 3]]


def volume(value: float, frames: int = 3) -> Volume:
    return Volume(np.full((frames, 2, 4, 4), value, np.float32), "tzyx", AFFINE, name="made")


def head(name: str, high: float, window: tuple[float, float]) -> Volume:
    """Return a volume of 4 mm with values up to ``high``, to be seen in a window."""
    array = np.linspace(0, high, 6 * 7 * 8, dtype=np.float32).reshape(6, 7, 8)
    affine = np.diag([-4.0, -4, -4, 1])[:, [2, 1, 0, 3]]
    return Volume(array, "zyx", affine, name=name, window=window)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def heads() -> tuple[Volume, ...]:
    real, difference = (0.0, 1.0), (-0.5, 0.5)
    return head("synthetic T2w", 0.1, real), head("real T1w", 1, real), head("T2w", 1, difference)


def test_a_preview_is_updated_in_place(viewer: ViewerModel) -> None:
    previews = PreviewLayers(viewer)
    previews.show((volume(1),))
    (layer,) = viewer.layers
    layer.contrast_limits = (0, 3)
    previews.show((volume(2, frames=5),))
    assert list(viewer.layers) == [layer]
    assert layer.data.shape[0] == 5
    assert (layer.data == 2).all()
    assert tuple(layer.contrast_limits) == (0, 3)


def test_a_preview_that_was_removed_stays_away(viewer: ViewerModel) -> None:
    previews = PreviewLayers(viewer)
    previews.show((volume(1), volume(2)))
    viewer.layers.remove(viewer.layers["Preview: made"])
    previews.show((volume(3), volume(4)))
    assert [layer.name for layer in viewer.layers] == ["Preview: made 2"]


def test_the_next_run_makes_layers_of_its_own(viewer: ViewerModel) -> None:
    previews = PreviewLayers(viewer)
    previews.show((volume(1),))
    previews.forget()
    assert not viewer.layers
    previews.show((volume(1),))
    assert len(viewer.layers) == 1


@pytest.mark.parametrize(("times", "step"), [((0.5, 0.6, 0.7), 0.1), (None, 1.0)])
def test_a_preview_keeps_pace_with_the_cine(
    viewer: ViewerModel, times: tuple[float, ...] | None, step: float
) -> None:
    source = add_volume(viewer, replace(volume(1), times=times))
    PreviewLayers(viewer).show((volume(2),))
    preview = viewer.layers["Preview"]
    assert preview.scale[0] == pytest.approx(step)
    assert preview.translate[0] == pytest.approx(source.translate[0])
    assert preview.units == source.units


def test_several_are_named_by_what_they_show_and_the_first_is_seen(
    viewer: ViewerModel, heads: tuple[Volume, ...]
) -> None:
    PreviewLayers(viewer).show(heads)
    assert [layer.name for layer in viewer.layers] == [
        "Preview: synthetic T2w", "Preview: real T1w", "Preview: T2w",
    ]  # fmt: skip
    assert [layer.visible for layer in viewer.layers] == [True, False, False]


def test_images_have_one_window_and_a_difference_is_nothing_in_its_middle(
    viewer: ViewerModel, heads: tuple[Volume, ...]
) -> None:
    PreviewLayers(viewer).show(heads)
    synthetic, real, difference = viewer.layers
    assert synthetic.contrast_limits == real.contrast_limits == [0, 1]
    assert difference.contrast_limits == [-0.5, 0.5]
    assert difference.colormap.name == DIFFERENCE.name
    np.testing.assert_allclose(difference.colormap.map(0.5), [[0, 0, 0, 1]], atol=0.02)


def test_side_by_side_shows_all_previews_alone_and_then_what_was_seen_before(
    viewer: ViewerModel, heads: tuple[Volume, ...]
) -> None:
    scan = add_volume(viewer, volume(1))
    previews = PreviewLayers(viewer)
    previews.show_side_by_side(on=True)
    assert scan.visible
    previews.show(heads)
    previews.show_side_by_side(on=True)
    assert [layer.visible for layer in viewer.layers] == [False, True, True, True]
    assert viewer.canvas.grid.enabled
    previews.show_side_by_side(on=False)
    assert [layer.visible for layer in viewer.layers] == [True, True, False, False]
    assert not viewer.canvas.grid.enabled
    previews.show_side_by_side(on=True)
    previews.forget()
    assert list(viewer.layers) == [scan]
    assert scan.visible
    assert not viewer.canvas.grid.enabled


def test_in_3d_a_head_stands_upright_and_slices_come_back(
    viewer: ViewerModel, heads: tuple[Volume, ...]
) -> None:
    previews = PreviewLayers(viewer)
    previews.show(heads)
    previews.show_in_3d(on=True)
    assert viewer.dims.ndisplay == 3
    assert viewer.layers[0].rendering == "attenuated_mip"
    up, ahead = viewer.scene.camera.up_direction, viewer.scene.camera.view_direction
    assert up[0] < -0.8
    assert ahead[1] > 0.8
    previews.show_in_3d(on=False)
    assert viewer.dims.ndisplay == 2
