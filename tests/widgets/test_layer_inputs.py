"""What may be chosen as an input, and what is read of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.components import LayerList
from napari.layers import Image, Labels, Layer, Shapes
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QComboBox

from napari_mrgen.engine.family import Input
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.datasets.contrasts import has_contrast
from napari_mrgen.io.find import find
from napari_mrgen.io.layers import to_layer
from napari_mrgen.volume import Volume
from napari_mrgen.widgets.layer_inputs import (
    TRANSIENT,
    InputPicker,
    InputPickers,
    fits,
    lead_of,
    needs_scan,
)

CINE = Input("cine", "Cine series", ("tzyx",), many=True)
SLICE = Input("slice", "Slice", ("zyx",), optional=True)
T1, T2 = (
    Input(role, title, ("zyx",), optional=True, many=True, named=has_contrast)
    for role, title in (("t1", "T1w"), ("t2", "T2w"))
)
MASK = Input("mask", "Part to complete", ("zyx",), optional=True, kind="labels")
TRY = replace(CINE, optional=True, many=False)
ARTEFACTS = replace(TRY, role="undersampled", title="Undersampled")
KSPACE = replace(TRY, role="kspace", title="k-space", from_file=True)
SHAPE = (3, 2, 8, 8)
SQUARE = [[1.0, 1.5, 1.5], [1, 1.5, 5.5], [1, 5.5, 5.5], [1, 5.5, 1.5]]


def image(name: str = "heart", **changes: object) -> Image:
    return Image(np.zeros(SHAPE, np.float32), name=name, **changes)


@pytest.fixture
def layers() -> LayerList:
    return LayerList()


def picker(qtbot: QtBot, wanted: Input, layers: LayerList) -> InputPicker:
    made = InputPicker(wanted, layers)
    qtbot.addWidget(made)
    return made


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (image(), True),
        (image(axis_labels=("t", "z", "y", "x")), True),
        (image(axis_labels=("n", "z", "y", "x")), False),
        (Image(np.zeros((3, 8, 8)), axis_labels=("t", "y", "x")), True),
        (Image(np.zeros((3, 8, 8))), False),
        (Image(np.zeros((3, 8, 8, 3)), rgb=True), False),
        (Labels(np.zeros(SHAPE, np.uint8)), False),
        (image(metadata={TRANSIENT: True}), False),
    ],
)
def test_only_layers_with_the_wanted_axes_fit(layer: Layer, expected: bool) -> None:
    assert fits(layer, CINE) is expected


def test_the_first_layer_that_comes_is_chosen(qtbot: QtBot, layers: LayerList) -> None:
    made = picker(qtbot, CINE, layers)
    with pytest.raises(MrgenError, match="nothing is chosen"):
        made.sources()
    with qtbot.waitSignal(made.changed):
        layers.append(image())
    (volume,) = made.sources()
    assert isinstance(volume, Volume)
    assert (volume.axes, volume.array.shape) == ("tzyx", SHAPE)


def test_a_choice_stays_while_others_come_and_go(qtbot: QtBot, layers: LayerList) -> None:
    first, second = image("first"), image("second")
    layers.append(first)
    made = picker(qtbot, CINE, layers)
    layers.append(second)
    made.choose_layer(first)
    layers.remove(second)
    assert made.sources()[0].name == "first"  # type: ignore[union-attr]


def test_all_fitting_layers_can_be_chosen_together(qtbot: QtBot, layers: LayerList) -> None:
    layers.extend([image("first"), image("second")])
    made = picker(qtbot, CINE, layers)
    made.findChild(QComboBox).setCurrentText("All 2 fitting layers")
    assert len(made.sources()) == 2


def test_a_path_stays_a_path(qtbot: QtBot, layers: LayerList, tmp_path: Path) -> None:
    layers.append(image())
    made = picker(qtbot, CINE, layers)
    made.choose_path(tmp_path)
    assert made.sources() == (tmp_path,)


def test_an_optional_input_may_be_left_open(qtbot: QtBot, layers: LayerList) -> None:
    made = picker(qtbot, SLICE, layers)
    layers.append(Image(np.zeros((2, 8, 8))))
    assert made.sources() == ()


def test_what_is_read_lies_where_the_layer_lies(qtbot: QtBot, layers: LayerList) -> None:
    affine = np.diag([8.0, 1.5, 1.25, 1.0])[[2, 1, 0, 3]]
    volume = Volume(np.ones(SHAPE, np.float32), "tzyx", affine, times=(0.0, 0.1, 0.2))
    layers.append(Layer.create(*to_layer(volume)))
    (read,) = picker(qtbot, CINE, layers).sources()
    assert isinstance(read, Volume)
    np.testing.assert_allclose(read.affine, affine)
    assert read.times == pytest.approx(volume.times)


@pytest.fixture
def scan_and_mask(qtbot: QtBot, layers: LayerList) -> InputPickers:
    layers.append(Image(np.ones((2, 8, 8), np.float32), name="scan"))
    made = InputPickers(layers)
    qtbot.addWidget(made)
    made.show_inputs((SLICE, MASK))
    return made


@pytest.mark.parametrize(
    "layer",
    [
        Shapes([np.array(SQUARE)], shape_type="rectangle", name="mask"),
        Labels(np.pad(np.ones((1, 4, 4), np.uint8), ((1, 0), (2, 2), (2, 2))), name="mask"),
        Labels(np.pad(np.ones((1, 4, 4), np.uint8), ((1, 3), (2, 9), (2, 9))), name="mask"),
    ],
)
def test_a_mask_is_laid_on_its_image(
    layers: LayerList, scan_and_mask: InputPickers, layer: Layer
) -> None:
    layers.append(layer)
    assert scan_and_mask.sources() == {}
    scan_and_mask.pickers["slice"].choose_layer(layers["scan"])
    scan_and_mask.pickers["mask"].choose_layer(layer)
    (mask,) = scan_and_mask.sources()["mask"]
    assert isinstance(mask, Volume)
    expected = np.zeros((2, 8, 8), np.uint8)
    expected[1, 2:6, 2:6] = 1
    np.testing.assert_array_equal(mask.array, expected)


def test_shapes_without_their_image_are_refused(
    layers: LayerList, scan_and_mask: InputPickers
) -> None:
    layers.append(Shapes([np.array(SQUARE)], shape_type="rectangle", name="part"))
    scan_and_mask.pickers["mask"].choose_layer(layers["part"])
    with pytest.raises(MrgenError, match="part: choose the image's layer too"):
        scan_and_mask.sources()


def test_a_set_of_cases_is_an_input_and_drawn_samples_are_not() -> None:
    stack = Volume(np.zeros((3, 2, 8, 8), np.float32), "nzyx", np.eye(4))
    cases = replace(stack, cases=("a", "b", "c"))
    slices = Input("slices", "Brain slices", ("zyx",), many=True)
    assert fits(Layer.create(*to_layer(cases)), slices)
    assert not fits(Layer.create(*to_layer(stack)), slices)
    assert not fits(Layer.create(*to_layer(cases)), SLICE)


@pytest.mark.parametrize("comes_first", [True, False])
def test_for_a_training_a_layer_is_chosen_by_the_contrast_in_its_name(
    qtbot: QtBot, layers: LayerList, comes_first: bool
) -> None:
    scans = [Image(np.zeros((4, 8, 8)), name=f"head {name}") for name in ("T1w", "T2w", "FLAIR")]
    if comes_first:
        layers.extend(scans)
    t1, t2 = (picker(qtbot, one, layers) for one in (T1, T2))
    if not comes_first:
        layers.extend(scans)
    assert [volume.name for made in (t1, t2) for volume in made.sources()] == [
        "head T1w", "head T2w",
    ]  # fmt: skip
    layers.append(Image(np.zeros((4, 8, 8)), name="another T1w"))
    t1.choose_layer(scans[2])
    layers.append(Image(np.zeros((4, 8, 8)), name="third T1w"))
    (chosen,) = t1.sources()
    assert chosen.name == "head FLAIR"


@pytest.fixture
def alternatives(qtbot: QtBot, layers: LayerList) -> InputPickers:
    """Inputs of which one is needed, and none in particular."""
    made = InputPickers(layers)
    qtbot.addWidget(made)
    made.show_inputs((TRY, ARTEFACTS, KSPACE), trained=(TRY,))
    return made


def test_of_several_inputs_the_first_takes_the_cine(
    alternatives: InputPickers, layers: LayerList
) -> None:
    with pytest.raises(MrgenError, match="Cine series, Undersampled or k-space: nothing is chosen"):
        alternatives.sources()
    layers.append(image())
    assert list(alternatives.sources()) == ["cine"]
    layers.append(image("another"))
    (chosen,) = alternatives.sources()["cine"]
    assert isinstance(chosen, Volume)
    assert chosen.name == "heart"
    del layers["heart"]
    assert list(alternatives.sources()) == ["cine"]


def test_it_lets_go_when_another_is_chosen(alternatives: InputPickers, layers: LayerList) -> None:
    layers.append(image())
    alternatives.pickers["undersampled"].choose_layer(layers[0])
    assert list(alternatives.sources()) == ["undersampled"]
    layers.append(image("another"))
    assert list(alternatives.sources()) == ["undersampled"]
    alternatives.pickers["cine"].choose_layer(layers[0])
    assert list(alternatives.sources()) == ["cine", "undersampled"]


def test_an_image_of_kspace_is_taken_for_no_cine(
    alternatives: InputPickers, layers: LayerList, tmp_path: Path
) -> None:
    np.save(tmp_path / "scan.npy", np.ones((3, 1, 2, 8, 8), np.complex64))
    layers.append(Layer.create(*to_layer(find(tmp_path / "scan.npy")[0].read())))
    with pytest.raises(MrgenError, match="nothing is chosen"):
        alternatives.sources()
    alternatives.pickers["kspace"].choose_layer(layers[0])
    assert list(alternatives.sources()) == ["kspace"]
    assert not fits(image(), KSPACE)


@pytest.mark.parametrize(
    ("wanted", "trained", "needed", "lead"),
    [
        ((TRY, ARTEFACTS), (CINE,), True, "cine"),
        ((CINE,), (CINE,), True, "cine"),
        ((SLICE, MASK), (replace(SLICE, role="slices"),), False, None),
        ((T1, T2, MASK), (T1,), True, None),
        ((), (SLICE,), False, None),
    ],
)
def test_what_draws_without_a_scan_takes_none(
    wanted: tuple[Input, ...], trained: tuple[Input, ...], needed: bool, lead: str | None
) -> None:
    assert needs_scan(wanted, trained) is needed
    assert lead_of(wanted, trained) == lead
