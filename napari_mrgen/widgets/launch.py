"""Launch: the demo in a window. Opens a phantom, trains on it, predicts, and plays the result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import napari
from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer

from napari_mrgen import families
from napari_mrgen.app.session import Phase, RunState
from napari_mrgen.errors import MrgenError
from napari_mrgen.widgets.train_panel import TrainPanel

FRAME_MS = 80


def launch(
    family: str = "frame_prediction",
    preset: str = "tiny",
    *,
    run_dir: Path | None = None,
    frames: int = 50,
    settings: Mapping[str, Any] | None = None,
) -> int:
    """Open napari, do the whole job on the family's own sample, and stay until it is closed.

    Parameters
    ----------
    run_dir
        The folder in which runs are kept; the user's own if not given.
    settings
        Changes to the preset.

    Returns
    -------
    int
        0 if a model was trained, 1 if not.
    """
    viewer = napari.Viewer(title="napari-mrgen: a demonstration")
    demo = Demo(viewer, frames)
    demo.start(family, preset, run_dir, settings or {})
    napari.run()
    return 0 if demo.is_done else 1


class Demo(QObject):
    """Presses the buttons that a user would, one after the other."""

    def __init__(self, viewer: napari.Viewer, frames: int) -> None:
        super().__init__()
        self._viewer, self._frames = viewer, frames
        self.is_done = False
        self._player = QTimer(self)
        self._player.setInterval(FRAME_MS)
        self._player.timeout.connect(self._show_next_frame)
        self.panel: TrainPanel

    def start(
        self, family: str, preset: str, run_dir: Path | None, settings: Mapping[str, Any]
    ) -> None:
        chosen = families.get(family)
        self._viewer.open_sample("napari-mrgen", chosen.sample)
        _, self.panel = self._viewer.window.add_plugin_dock_widget("napari-mrgen", "Train")
        self.panel.setup.choose_family(family)
        self.panel.setup.show_config(chosen.preset(preset).with_values(dict(settings)))
        if run_dir is not None:
            self.panel.setup.choose_runs_folder(run_dir)
        self.panel.state_changed.connect(self._on_state)
        self.panel.train()

    def _on_state(self, state: RunState) -> None:
        if state.phase is Phase.FINISHED and not self.is_done:
            self.is_done = True
            # The panel is still at work on this very event.
            QTimer.singleShot(0, self._generate)

    def _generate(self) -> None:
        panel = self.panel.open_generate()
        if panel.form is None:
            raise MrgenError("The trained model could not be read.")
        config = panel.form.config()
        if "frames" in type(config).model_fields:
            panel.form.set_config(config.with_values({"frames": self._frames}))
        panel.generated.connect(self._on_generated)
        panel.generate()

    def _on_generated(self, layers: list[Layer]) -> None:
        for layer in self._viewer.layers:
            layer.visible = layer in layers[:1]
        if layers and "t" in layers[0].axis_labels:
            self._player.start()

    def _show_next_frame(self) -> None:
        """Go on by one frame, until the user takes the slider."""
        dims = self._viewer.dims
        frame = dims.current_step[0]
        dims.set_current_step(0, (frame + 1) % dims.nsteps[0])
