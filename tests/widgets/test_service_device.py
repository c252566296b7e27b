"""The Generate panel with a service as its device: the same layer as without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QLabel

from napari_mrgen.samples import brain
from napari_mrgen.widgets.generate_panel import GeneratePanel
from napari_mrgen.widgets.preview_layers import add_volume
from tests.service.conftest import serving, write_model

pytestmark = [pytest.mark.window, pytest.mark.timeout(600)]

PATIENCE_MS = 240_000


def test_a_service_gives_the_same_layers(window: Any, tmp_path: Path, qtbot: QtBot) -> None:
    model = write_model("vqvae", tmp_path / "model.safetensors", prior_steps=0)
    add_volume(window, brain()[0], name="scan")
    _, panel = window.window.add_plugin_dock_widget("napari-mrgen", "Generate")
    assert isinstance(panel, GeneratePanel)
    panel.use_model(model)
    panel.inputs.pickers["image"].choose_layer(window.layers["scan"])
    with qtbot.waitSignal(panel.generated, timeout=PATIENCE_MS):
        panel.generate()
    here = list(panel.results)
    with serving(model, "--device", "cpu") as served:
        panel.device.use_service(served.address)
        with qtbot.waitSignal(panel.generated, timeout=PATIENCE_MS):
            panel.generate()
        there = list(panel.results)
    assert len(here) == len(there) == 3
    for one, other in zip(there, here, strict=True):
        # A service has other threads, so sums differ in their last digits.
        np.testing.assert_allclose(one.data, other.data, rtol=0, atol=1e-6 * np.ptp(other.data))
        np.testing.assert_array_equal(one.affine.affine_matrix, other.affine.affine_matrix)
        np.testing.assert_array_equal(one.scale, other.scale)
    with qtbot.waitSignal(panel.generated, timeout=PATIENCE_MS):
        panel.generate()  # It has ended by now.
    said = panel.findChild(QLabel, "headline").text()
    assert "cannot be reached" in said
    assert served.token not in said
