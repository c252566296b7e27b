"""Make the pictures of the documentation: one of each state of the panels, on the phantom.

    xvfb-run -a -s "-screen 0 1366x768x24" python docs/screenshots.py [FOLDER]

The window is that of a small laptop; look at each picture before it is committed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QScrollArea

from napari_mrgen.widgets.session import Phase
from napari_mrgen.widgets.tables import ModelDialog

SIZE = (1366, 768)
SETTINGS = {
    "autoencoder_steps": 120, "gan_steps": 10, "patch": 64, "slices": 1, "width": 16,
    "batch_size": 6, "new_motion": 0.2, "ema_decay": 0.97, "preview_every": 20, "save_every": 60,
}  # fmt: skip
"""Trains in a minute, and the preview can be seen to get better."""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_CONFIG_HOME"] = home
        viewer = napari.Viewer(title="napari")
        viewer.window.resize(*SIZE)
        viewer.window.set_geometry(0, 0, *SIZE)
        Tour(viewer, folder, Path(home) / "runs").walk()
        viewer.close()


class Tour:
    """Goes from state to state and takes a picture of each."""

    def __init__(self, viewer: Any, folder: Path, runs: Path) -> None:
        self.viewer, self.folder = viewer, folder
        _, self.train = viewer.window.add_plugin_dock_widget("napari-mrgen", "Train")
        self.train.setup.choose_runs_folder(Path("~/napari-mrgen"))
        self.runs = runs

    def walk(self) -> None:
        self.settle(lambda: "Looking" not in self.train.setup.device.text())
        self.take("empty")
        self.load()
        self.look()
        self.run()
        self.finish()
        self.generate()

    def load(self) -> None:
        self.viewer.open_sample("napari-mrgen", "heart")
        self.viewer.layers[-1].visible = False
        self.viewer.layers.selection.active = self.viewer.layers[0]
        self.settle(lambda: self.train.plan is not None)
        self.take("cine-loaded")

    def look(self) -> None:
        before = len(self.viewer.layers)
        self.train.look_at_data()
        self.settle(lambda: len(self.viewer.layers) > before)
        self.take("look-at-the-data")
        self.train.look_at_model()
        self.settle(lambda: bool(self.train.findChildren(ModelDialog)))
        self.take("look-at-the-model")
        for dialog in self.train.findChildren(ModelDialog):
            dialog.close()

    def run(self) -> None:
        setup, session = self.train.setup, self.train.session
        setup.show_config(setup.family.preset("quick").with_values(SETTINGS))
        setup.choose_runs_folder(self.runs)
        self.train.train()
        self.settle(lambda: session.state.step > 90 or not session.state.is_busy)
        self.viewer.layers[0].visible = False
        self.viewer.reset_view()
        self.take("training")
        session.pause()
        self.settle(lambda: session.state.phase is Phase.PAUSED)
        self.take("paused")
        session.resume()

    def finish(self) -> None:
        self.settle(lambda: not self.train.session.state.is_busy)
        scroll = self.train.run.findChild(QScrollArea).verticalScrollBar()
        scroll.setValue(scroll.maximum())
        self.settle(seconds=6)  # the notification goes by itself
        self.take("finished")

    def generate(self) -> None:
        panel = self.train.open_generate()
        panel.generate()
        self.settle(lambda: not panel.is_busy)
        for layer in self.viewer.layers:
            layer.visible = layer in panel.results
        self.viewer.dims.set_current_step(0, self.viewer.dims.nsteps[0] - 10)
        self.viewer.reset_view()
        self.settle(seconds=6)
        self.take("generated")

    def settle(
        self, done: Callable[[], bool] = lambda: True, patience: float = 900, seconds: float = 0.5
    ) -> None:
        start = time.monotonic()
        while not done():
            if time.monotonic() - start > patience:
                raise TimeoutError(self.train.session.state.headline)
            QTest.qWait(50)
        QTest.qWait(round(seconds * 1000))

    def take(self, name: str) -> None:
        """Take a picture of the whole screen: dialogs and notifications are in it."""
        QApplication.processEvents()
        path = self.folder / f"{name}.png"
        subprocess.run(
            ["import", "-window", "root", "-depth", "8", "-colors", "256", str(path)], check=True
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("images"))
