"""Layers that a run makes: placed like their source, updated in place, never in the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_mrgen.volume import Volume
from napari_mrgen.widgets.preview_layers import Montage, add_volume, go_to

AFFINE = np.diag([8.0, 1.5, 1.25, 1.0])[:, [2, 1, 0, 3]]


def volume(value: float, frames: int = 3) -> Volume:
    return Volume(np.full((frames, 2, 4, 4), value, np.float32), "tzyx", AFFINE, name="made")


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def test_geometry_units_and_names_are_set(viewer: ViewerModel) -> None:
    layer = add_volume(viewer, volume(1), name="mine")
    assert layer.name == "mine"
    assert layer.axis_labels == ("t", "z", "y", "x")
    assert [str(unit) for unit in layer.units[1:]] == ["millimeter"] * 3
    np.testing.assert_allclose(layer.scale[1:], volume(1).spacing)


def test_a_montage_hides_the_others_while_it_is_there(viewer: ViewerModel) -> None:
    shown, hidden = add_volume(viewer, volume(1)), add_volume(viewer, volume(2))
    hidden.visible = False
    montage = Montage(viewer)
    montage.show(volume(3))
    montage.show(volume(4))
    assert [layer.visible for layer in viewer.layers] == [False, False, True]
    montage.remove()
    assert [shown.visible, hidden.visible] == [True, False]
    assert list(viewer.layers) == [shown, hidden]


def test_the_sliders_go_to_a_layer_that_would_not_be_seen(viewer: ViewerModel) -> None:
    add_volume(viewer, volume(1, frames=20))
    later = add_volume(viewer, replace(volume(2), times=(30.0, 31.0, 32.0)))
    viewer.dims.set_point(0, 4)
    go_to(viewer, later)
    assert viewer.dims.point[0] == pytest.approx(30)
    viewer.dims.set_point(0, 31)
    go_to(viewer, later)
    assert viewer.dims.point[0] == pytest.approx(31)
