"""The whole way in a real window, by clicking, for every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Layer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QApplication, QDialog, QPushButton, QTableWidget, QWidget

from napari_mrgen import families
from napari_mrgen.app.session import Phase
from napari_mrgen.engine.family import Family
from napari_mrgen.engine.run.folder import Run
from napari_mrgen.io import nifti
from napari_mrgen.samples import brain
from napari_mrgen.widgets.generate_panel import GeneratePanel
from napari_mrgen.widgets.layer_inputs import needs_scan
from napari_mrgen.widgets.loss_plot import LOSSES
from napari_mrgen.widgets.tables import SurveyDialog
from napari_mrgen.widgets.train_panel import TrainPanel

pytestmark = [pytest.mark.window, pytest.mark.timeout(600)]

FRAMES, SAMPLES = 50, 5
PATIENCE_MS = 240_000
WHOLE_VOLUMES = {"cyclegan"}
"""Families that register and score whole volumes: the sample at half resolution saves minutes."""
Click = Callable[[QWidget, str], None]


@pytest.fixture(params=families.names())
def family(request: pytest.FixtureRequest) -> Family:
    return families.get(request.param)


@pytest.fixture
def panel(window: Any, family: Family, tmp_path: Path) -> TrainPanel:
    """The Train panel beside the family's sample, ready to train ``tiny``."""
    if family.name in WHOLE_VOLUMES:
        window.open(small_brain(tmp_path), plugin="napari-mrgen")
    else:
        window.open_sample("napari-mrgen", family.sample)
    _, made = window.window.add_plugin_dock_widget("napari-mrgen", "Train")
    made.setup.choose_family(family.name)
    made.setup.choose_preset("tiny")
    made.setup.choose_runs_folder(tmp_path / "runs")
    return made


def small_brain(folder: Path) -> list[Path]:
    """Write the sample brain at half resolution, a file for each contrast."""
    paths = []
    for volume, contrast in zip(brain(0), ("T1w", "T2w"), strict=True):
        affine = volume.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
        half = volume.with_array(volume.array[::2, ::2, ::2], affine=affine)
        paths.append(folder / f"sub-01_{contrast}.nii.gz")
        nifti.write(half, paths[-1])
    return paths


def wait_for(qtbot: QtBot, panel: TrainPanel, phase: Phase) -> None:
    def is_there() -> bool:
        state = panel.session.state
        if state.phase is Phase.FAILED:
            pytest.fail(f"{state.problem}\n{state.details}")
        return state.phase is phase

    qtbot.waitUntil(is_there, timeout=PATIENCE_MS)


def placed_like(layer: Layer, source: Layer) -> None:
    """Assert that two layers lie at the same place in space, in the same units."""
    assert layer.axis_labels[-3:] == ("z", "y", "x")
    assert layer.units[-3:] == source.units[-3:]
    np.testing.assert_allclose(layer.scale[-3:], source.scale[-3:], rtol=1e-5)
    np.testing.assert_allclose(layer.translate[-3:], source.translate[-3:], atol=1e-3)


def placed_within(layer: Layer, source: Layer) -> None:
    """Assert that a layer starts on a voxel of another, with voxels of that size."""
    np.testing.assert_allclose(layer.scale[-3:], source.scale[-3:], rtol=1e-5)
    offset = (layer.translate[-3:] - source.translate[-3:]) / source.scale[-3:]
    np.testing.assert_allclose(offset, np.rint(offset), atol=1e-3)
    assert np.all(np.rint(offset) >= 0)
    assert np.all(offset < source.data.shape[-3:])


def starts_from_a_scan(family: Family) -> bool:
    return needs_scan(family.generate_inputs, family.train_inputs)


def placed_by(family: Family, panel: TrainPanel) -> Callable[[Layer, Layer], None]:
    """Return what holds for the place of a family's results: their scan's, or one of that size."""
    if starts_from_a_scan(family):
        return placed_like
    size = panel.setup.form.editor("size").value()
    return lambda layer, source: drawn_as_large_as(layer, source, size)


def drawn_as_large_as(layer: Layer, source: Layer, size: int) -> None:
    """Assert that a slice of ``size`` pixels shows as many millimetres as the scan has."""
    assert layer.axis_labels[-3:] == ("z", "y", "x")
    assert layer.units[-3:] == source.units[-3:]
    shrunk = max(1, max(source.data.shape[-2:]) / size)
    np.testing.assert_allclose(layer.scale[-2:], np.multiply(source.scale[-2:], shrunk), rtol=0.05)


def test_from_sample_to_saved_file(
    window: Any, panel: TrainPanel, family: Family, qtbot: QtBot, click: Click, tmp_path: Path
) -> None:
    source = window.layers[0]
    preview_data(window, panel, qtbot, click)
    model_summary(panel, qtbot, click)
    train_with_interruptions(window, panel, qtbot, click)
    see_the_previews(window, panel, qtbot, click)
    click(panel, "generate_with_this_model")
    made = generate(window, panel, qtbot, click)
    placed_by(family, panel)(made, source)
    play(window, made, qtbot)
    reopened = save_and_reopen(window, made, qtbot, tmp_path)
    assert np.array_equal(reopened.data, made.data)
    placed_like(reopened, made)


def preview_data(window: Any, panel: TrainPanel, qtbot: QtBot, click: Click) -> None:
    before = list(window.layers)
    click(panel, "preview_data")
    qtbot.waitUntil(lambda: len(window.layers) > len(before), timeout=PATIENCE_MS)
    assert not any(layer.visible for layer in before)
    for dialog in panel.findChildren(SurveyDialog):
        dialog.close()
    qtbot.waitUntil(lambda: not panel.findChildren(QDialog))


def model_summary(panel: TrainPanel, qtbot: QtBot, click: Click) -> None:
    click(panel, "model_summary")
    qtbot.waitUntil(lambda: bool(panel.findChildren(QDialog)), timeout=PATIENCE_MS)
    (dialog,) = panel.findChildren(QDialog)
    assert dialog.findChild(QTableWidget).rowCount() > 1
    dialog.close()


def train_with_interruptions(window: Any, panel: TrainPanel, qtbot: QtBot, click: Click) -> None:
    click(panel, "train")
    assert not panel.findChild(QPushButton, "train").isEnabled()
    wait_for(qtbot, panel, Phase.TRAINING)
    click(panel, "pause")
    wait_for(qtbot, panel, Phase.PAUSED)
    click(panel, "resume")
    wait_for(qtbot, panel, Phase.TRAINING)
    click(panel, "stop")
    wait_for(qtbot, panel, Phase.STOPPED)
    run_dir = panel.session.state.run_dir
    assert run_dir is not None
    assert Run(run_dir).status == "stopped"
    click(panel, "resume")
    wait_for(qtbot, panel, Phase.FINISHED)
    assert Run(run_dir).status == "finished"
    assert any(curve.x for curve in panel.run.plot.curves[LOSSES].values())
    preview = next(layer for layer in window.layers if layer.name.startswith("Preview"))
    source = window.layers[0]
    if starts_from_a_scan(panel.setup.family):
        placed_within(preview, source)
    else:
        placed_by(panel.setup.family, panel)(preview, source)
    assert window.layers[0].visible


def see_the_previews(window: Any, panel: TrainPanel, qtbot: QtBot, click: Click) -> None:
    """See them in depth, side by side and as a movie, and everything as before after that."""
    before = [layer.visible for layer in window.layers]
    for shown in (3, 2):
        click(panel, "3-d")
        assert window.dims.ndisplay == shown
    window.dims.ndisplay = 3  # as napari's own button does
    assert panel.findChild(QPushButton, "3-d").isChecked()
    click(panel, "3-d")
    for is_on in (True, False):
        click(panel, "side_by_side")
        assert window.canvas.grid.enabled is is_on
    assert [layer.visible for layer in window.layers] == before
    click(panel, "replay")
    qtbot.waitUntil(lambda: len(window.layers) > len(before), timeout=PATIENCE_MS)
    movie = window.layers[-1]
    assert movie.axis_labels[0] == "t"
    assert len(movie.data) > 1


def generate(window: Any, panel: TrainPanel, qtbot: QtBot, click: Click) -> Layer:
    generating = panel.open_generate()
    assert isinstance(generating, GeneratePanel)
    assert generating.form is not None
    frames = len(window.layers[0].data)
    if "frames" in type(generating.form.config()).model_fields:
        frames = FRAMES
        generating.form.editor("frames").set_value(frames)
    if "t1" in generating.inputs.pickers:
        generating.inputs.pickers["t1"].choose_layer(window.layers[0])
    if not starts_from_a_scan(panel.setup.family):
        generating.form.editor("samples").set_value(SAMPLES)
    with qtbot.waitSignal(generating.generated, timeout=PATIENCE_MS) as caught:
        click(generating, "generate")
    (results,) = caught.args
    made = results[0]
    assert "synthetic" in made.name
    if made.axis_labels[0] == "t":
        assert made.data.shape[0] == frames
    if made.axis_labels[0] == "n":
        assert made.data.shape[0] == SAMPLES
    assert np.isfinite(made.data).all()
    return made


def play(window: Any, layer: Layer, qtbot: QtBot) -> None:
    """Press napari's own play button, and see the frames go by."""
    if layer.axis_labels[0] != "t":
        return
    window.dims.set_current_step(0, 0)
    dock, _ = window.window.add_plugin_dock_widget("napari-mrgen", "Train")
    buttons = [b for b in dock.window().findChildren(QPushButton) if "Play" in type(b).__name__]
    shown = [button for button in buttons if button.isVisible()]
    seen: set[int] = set()
    window.dims.events.current_step.connect(lambda: seen.add(window.dims.current_step[0]))
    qtbot.mouseClick(shown[-1], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(seen) > 5, timeout=10_000)
    qtbot.mouseClick(shown[-1], Qt.MouseButton.LeftButton)


def save_and_reopen(window: Any, made: Layer, qtbot: QtBot, tmp_path: Path) -> Layer:
    _, generating = window.window.add_plugin_dock_widget("napari-mrgen", "Generate")
    path = tmp_path / "generated.nii.gz"
    generating.save(path)
    qtbot.waitUntil(lambda: not generating.is_busy, timeout=PATIENCE_MS)
    (reopened,) = window.open(path, plugin="napari-mrgen")
    return reopened


def test_closing_the_window_saves_the_run(
    window: Any, panel: TrainPanel, qtbot: QtBot, click: Click
) -> None:
    click(panel, "train")
    wait_for(qtbot, panel, Phase.TRAINING)
    run_dir = panel.session.state.run_dir
    assert run_dir is not None
    # What the window's own button sends; the fixture closes the viewer behind it.
    QApplication.sendEvent(panel.window(), QCloseEvent())
    assert panel.session.state.phase is Phase.STOPPED
    assert Run(run_dir).status == "stopped"
