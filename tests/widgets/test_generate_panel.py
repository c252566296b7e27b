"""The Generate panel with a model that needs no scan, takes one, or takes one and a mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Layer
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QLabel, QWidget

from napari_mrgen import families
from napari_mrgen.app.inputs import gather
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit
from napari_mrgen.engine.run.events import Finished
from napari_mrgen.io import nifti
from napari_mrgen.samples import brain
from napari_mrgen.widgets.generate_panel import GeneratePanel
from napari_mrgen.widgets.preview_layers import add_volume

pytestmark = [pytest.mark.window, pytest.mark.timeout(600)]

PATIENCE_MS = 240_000
FAMILY = families.get("vqvae")
SHORT = FAMILY.preset("tiny").with_values({"vqvae_steps": 4, "prior_steps": 4})
Click = Callable[[QWidget, str], None]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained for a moment."""
    folder = tmp_path_factory.mktemp("trained")
    nifti.write(brain()[0], folder / "brain.nii")
    inputs = gather(FAMILY, {"slices": [folder / "brain.nii"]}, SHORT)
    last = list(fit(FAMILY, SHORT, inputs, folder / "run", Control()))[-1]
    assert isinstance(last, Finished)
    return folder / "run"


@pytest.fixture
def panel(window: Any, run: Path) -> GeneratePanel:
    """The Generate panel with this model, beside a brain."""
    add_volume(window, brain()[0], name="scan")
    _, made = window.window.add_plugin_dock_widget("napari-mrgen", "Generate")
    made.use_model(run)
    assert isinstance(made, GeneratePanel)
    return made


def generate(panel: GeneratePanel, qtbot: QtBot, click: Click) -> list[Layer]:
    with qtbot.waitSignal(panel.generated, timeout=PATIENCE_MS) as caught:
        click(panel, "generate")
    (layers,) = caught.args
    return list(layers)


def test_without_a_scan_samples_come_as_one_layer(
    panel: GeneratePanel, qtbot: QtBot, click: Click
) -> None:
    assert panel.form is not None
    panel.form.editor("samples").set_value(70)  # more than are drawn at once
    (layer,) = generate(panel, qtbot, click)
    assert layer.axis_labels == ("n", "z", "y", "x")
    assert layer.data.shape == (70, 1, SHORT.size, SHORT.size)


def test_a_scan_is_reconstructed_where_it_lies(
    window: Any, panel: GeneratePanel, qtbot: QtBot, click: Click
) -> None:
    scan = window.layers["scan"]
    panel.inputs.pickers["image"].choose_layer(scan)
    results = generate(panel, qtbot, click)
    assert list(window.layers)[-1 : -1 - len(results) : -1] == results  # The first one on top.
    made, codes, *_ = results
    assert made.data.shape == scan.data.shape
    np.testing.assert_allclose(made.scale, scan.scale)
    np.testing.assert_allclose(made.translate, scan.translate)
    low, high = scan.extent.world
    middle = codes.extent.world.mean(0)
    assert ((low < middle) & (middle < high)).all()


def test_what_a_shape_marks_is_drawn_anew(
    window: Any, panel: GeneratePanel, qtbot: QtBot, click: Click
) -> None:
    scan = window.layers["scan"]
    z, y, x = (length // 2 for length in scan.data.shape)
    corners = [(z, y + dy, x + dx) for dy, dx in ((-8, -8), (-8, 8), (8, 8), (8, -8))]
    world = np.array([scan.data_to_world(corner) for corner in corners])
    shapes = window.add_shapes([world], shape_type="ellipse", units=scan.units, name="hole")
    panel.inputs.pickers["image"].choose_layer(scan)
    panel.inputs.pickers["mask"].choose_layer(shapes)
    (made,) = generate(panel, qtbot, click)
    changed = np.argwhere(made.data != scan.data)
    assert len(changed)
    assert (np.abs(changed - (z, y, x)).max(0) <= (0, 8, 8)).all()


def test_a_folder_becomes_a_folder(
    panel: GeneratePanel, run: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    scans, out = tmp_path / "scans", tmp_path / "made"
    scans.mkdir()
    nifti.write(brain(1)[0], scans / "one.nii")
    (scans / "broken.nii").write_bytes(b"broken")
    panel.inputs.pickers["image"].choose_path(scans)
    with qtbot.waitSignal(panel.folder_generated, timeout=PATIENCE_MS) as caught:
        panel.generate_folder(out)
    assert sorted(bool(done.problem) for done in caught.args[0]) == [False, True]
    assert len(list(out.glob("one-*.nii.gz"))) == 3
    said = panel.findChild(QLabel, "headline").text()
    assert "1 of 2 scans" in said
    assert "broken.nii" in said
    assert not panel.is_busy


def test_a_layer_is_no_folder(window: Any, panel: GeneratePanel, tmp_path: Path) -> None:
    panel.inputs.pickers["image"].choose_layer(window.layers["scan"])
    panel.generate_folder(tmp_path / "made")
    assert "Choose a folder" in panel.findChild(QLabel, "headline").text()
    assert not panel.is_busy


def test_a_mask_alone_is_not_enough(window: Any, panel: GeneratePanel, click: Click) -> None:
    shapes = window.add_shapes([np.eye(3) * 9], shape_type="polygon", name="hole")
    panel.inputs.pickers["mask"].choose_layer(shapes)
    click(panel, "generate")
    assert "choose the image's layer too" in panel.findChild(QLabel, "headline").text()
    assert not panel.is_busy
