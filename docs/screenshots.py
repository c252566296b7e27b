"""Make the pictures of the documentation: one of each state of the panels, on the phantoms.

    xvfb-run -a -s "-screen 0 1366x768x24" python docs/screenshots.py [--only TOUR] [FOLDER]

The tour ``cyclegan`` wants real heads: Open MS data, in the folder that MRGEN_DATA names. It trains
for some minutes; where MRGEN_RUN names a finished run, it shows that instead.

The window is that of a small laptop; look at each picture before it is committed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from napari.layers import Layer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton, QScrollArea

from napari_mrgen.app.session import Phase
from napari_mrgen.widgets.generate_panel import GeneratePanel
from napari_mrgen.widgets.tables import ModelDialog, SurveyDialog

SIZE = (1366, 768)
CINE = {
    "autoencoder_steps": 120, "gan_steps": 10, "patch": 64, "slices": 1, "width": 16,
    "batch_size": 6, "retimed_share": 0.2, "ema_decay": 0.97, "preview_every": 20, "save_every": 60,
}  # fmt: skip
"""Trains in a minute, and the preview can be seen to get better."""
GAN = {
    "size": 64, "steps": 300, "width": 16, "batch_size": 8, "ema_decay": 0.97,
    "preview_every": 50, "save_every": 300,
}  # fmt: skip
VQVAE = {
    "size": 64, "factor": 4, "patch": 32, "codes": 128, "width": 16, "blocks": 1, "batch_size": 8,
    "vqvae_steps": 200, "texture_steps": 60, "prior_steps": 150,
    "prior_width": 64, "prior_layers": 2, "ema_decay": 0.97, "preview_every": 50, "save_every": 300,
}  # fmt: skip
CYCLE = {
    "width": 12, "levels": 2, "blocks": 0, "patch": 32, "batch_size": 2, "discriminator_width": 4,
    "discriminator_levels": 1, "discriminator_scales": 1, "full_every": 40, "identity_every": 1000,
    "steps": 400, "ema_decay": 0.97, "preview_every": 80, "save_every": 400,
}  # fmt: skip
REAL_TIME = {
    "steps": 60, "patch": 64, "frames": 9, "width": 16, "consistency_steps": 1, "coils": 2,
    "ema_decay": 0.9, "preview_every": 20, "save_every": 60,
}  # fmt: skip


class Tour:
    """Goes from state to state and takes a picture of each."""

    family = ""

    def __init__(self, viewer: Any, folder: Path, runs: Path) -> None:
        self.viewer, self.folder = viewer, folder
        _, self.train = viewer.window.add_plugin_dock_widget("napari-mrgen", "Train")
        self.train.setup.choose_family(self.family)
        self.train.setup.choose_runs_folder(Path("~/napari-mrgen"))
        self.runs = runs

    def walk(self) -> None:
        raise NotImplementedError

    def train_with(self, settings: dict[str, Any]) -> None:
        setup = self.train.setup
        setup.show_config(setup.family.preset("quick").with_values(settings))
        setup.choose_runs_folder(self.runs)
        self.train.train()

    def take_training(self, name: str, stage: str, step: int) -> None:
        """Take a picture with the preview alone, after a step of a stage."""
        session = self.train.session
        self.settle(lambda: session.state.stage == stage and session.state.step > step)
        for layer in self.viewer.layers:
            layer.visible = layer.name == "Preview"
        self.viewer.reset_view()
        self.take(name)

    def take_scores(self, name: str) -> None:
        self.settle(lambda: not self.train.session.state.is_busy)
        scroll = self.train.run.findChild(QScrollArea).verticalScrollBar()
        scroll.setValue(scroll.maximum())
        self.settle(seconds=6)  # the notification goes by itself
        self.take(name)

    def take_generated(self, name: str, panel: GeneratePanel, *beside: Layer) -> None:
        """Take a picture of the first result, with some layers beside it."""
        panel.generate()
        self.settle(lambda: not panel.is_busy)
        for layer in self.viewer.layers:
            layer.visible = layer in (*panel.results[:1], *beside)
        self.viewer.reset_view()
        self.settle(seconds=6)
        self.take(name)

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


class CineTour(Tour):
    """From an empty window to 50 predicted frames of the beating heart."""

    family = "frame_prediction"

    def walk(self) -> None:
        self.settle(lambda: "Looking" not in self.train.setup.device.text())
        self.take("empty")
        self.load()
        self.look()
        self.run()
        self.generate()

    def load(self) -> None:
        self.viewer.open_sample("napari-mrgen", "heart")
        self.viewer.layers[-1].visible = False
        self.viewer.layers.selection.active = self.viewer.layers[0]
        self.settle(lambda: self.train.plan is not None)
        self.take("cine-loaded")

    def look(self) -> None:
        before = len(self.viewer.layers)
        self.train.preview_data()
        self.settle(lambda: len(self.viewer.layers) > before)
        self.take("look-at-the-data")
        self.train.show_model_summary()
        self.settle(lambda: bool(self.train.findChildren(ModelDialog)))
        self.take("look-at-the-model")
        for dialog in self.train.findChildren(ModelDialog):
            dialog.close()

    def run(self) -> None:
        session = self.train.session
        self.train_with(CINE)
        self.take_training("training", "autoencoder", 90)
        session.pause()
        self.settle(lambda: session.state.phase is Phase.PAUSED)
        self.take("paused")
        session.resume()

    def generate(self) -> None:
        self.take_scores("finished")
        panel = self.train.open_generate()
        self.take_generated("generated", panel)


class GanTour(Tour):
    """Slices drawn by a GAN that has seen the brain phantom."""

    family = "dcgan"

    def walk(self) -> None:
        self.viewer.open_sample("napari-mrgen", "brain")
        self.train.preview_data()
        self.settle(lambda: len(self.viewer.layers) > 2)
        self.take("slices-look-at-the-data")
        self.train_with(GAN)
        self.take_training("slices-training", "gan", 260)
        self.settle(lambda: not self.train.session.state.is_busy)
        panel = self.train.open_generate()
        self.take_generated("slices-generated", panel)


class CodesTour(Tour):
    """Slices coded, drawn, and completed where a shape marks them, by a VQ-VAE."""

    family = "vqvae"

    def walk(self) -> None:
        self.viewer.open_sample("napari-mrgen", "brain")
        del self.viewer.layers[1:]
        self.train_with(VQVAE)
        self.take_training("codes-training", "vqvae", 160)
        self.settle(lambda: not self.train.session.state.is_busy)
        panel = self.train.open_generate()
        self.complete(panel)

    def complete(self, panel: GeneratePanel) -> None:
        """Mark an ellipse over the scan, and let the model draw what it covers."""
        scan = self.viewer.layers[0]
        scan.visible = True
        z, y, x = (length // 2 for length in scan.data.shape)
        reach = scan.data.shape[1] // 10
        ways = ((-1, -1), (-1, 1), (1, 1), (1, -1))
        corners = [(z, y + down * reach, x + right * reach) for down, right in ways]
        hole = self.viewer.add_shapes(
            [corners], shape_type="ellipse", name="Part to complete", units=scan.units,
            scale=scan.scale, translate=scan.translate, face_color="#00000000",
            edge_color="#e6a23c", edge_width=0.5,
        )  # fmt: skip
        panel.inputs.pickers["image"].choose_layer(scan)
        panel.inputs.pickers["mask"].choose_layer(hole)
        self.viewer.dims.set_point(0, scan.data_to_world((z, y, x))[0])
        self.take_generated("codes-completed", panel, hole)


class RealTimeTour(Tour):
    """From a cine to the reconstruction of its real-time scan, and two trainings in the queue."""

    family = "reconstruction"

    def walk(self) -> None:
        self.settle(lambda: "Looking" not in self.train.setup.device.text())
        self.viewer.open_sample("napari-mrgen", "heart")
        self.viewer.layers[-1].visible = False
        self.settle(lambda: self.train.plan is not None)
        self.take("real-time-loaded")
        self.look()
        self.queue()
        self.train_with(REAL_TIME)
        self.take_training("real-time-training", "reconstruction", 45)
        self.take_scores("real-time-finished")
        self.generate()

    def look(self) -> None:
        before = len(self.viewer.layers)
        self.train.preview_data()
        self.settle(lambda: len(self.viewer.layers) > before)
        self.take("real-time-look-at-the-data")

    def queue(self) -> None:
        """Put two trainings into the queue, and start it for a moment."""
        add = self.viewer.window.add_plugin_dock_widget
        dock, queue = add("napari-mrgen", "Queue", tabify=True)
        self.train.setup.choose_runs_folder(self.runs)
        for network in ("published", "unet2d1d"):
            changes = {"network": network, "width": 4, "depth": 3, "steps": 2000}
            config = self.train.setup.family.preset("quick").with_values({**REAL_TIME, **changes})
            self.train.setup.show_config(config)
            queue.add()
            self.settle(queue.findChild(QPushButton, "add").isEnabled)
        dock.raise_()
        queue.list.setCurrentItem(queue.list.topLevelItem(1))
        queue.start()
        self.settle(lambda: bool(queue.queue.running and "step" in queue.queue.running.said))
        self.take("queue")
        queue.stop()
        self.settle(lambda: not queue.is_busy)
        self.viewer.window.remove_dock_widget(dock)

    def generate(self) -> None:
        panel = self.train.open_generate()
        panel.form.editor("include_inputs").set_value(True)
        self.viewer.dims.set_current_step(1, self.viewer.layers[0].data.shape[1] // 2)
        self.take_generated("real-time-generated", panel)
        self.viewer.canvas.grid.enabled = True
        self.viewer.canvas.grid.shape = (1, 3)
        self.viewer.layers.remove("Preview")  # The widest layer says how far apart all are.
        for layer in self.viewer.layers:
            layer.visible = layer in panel.results
        self.viewer.reset_view()
        self.settle(seconds=2)
        self.take("real-time-beside")


class CycleTour(Tour):
    """Real pairs compared, T1w and T2w learned from one another, and a head translated."""

    family = "cyclegan"

    def walk(self) -> None:
        data = Path(os.environ["MRGEN_DATA"]) / "open-ms-t1-t2"
        self.compare(data / "raw")
        self.run(data / "mni_1mm")
        self.translate(data / "mni_1mm" / "patient07_T1.nii.gz")

    def choose(self, folder: Path) -> None:
        self.train.setup.inputs.pickers["pairs"].choose_path(folder)

    def compare(self, folder: Path) -> None:
        self.choose(folder)
        self.train.preview_data()
        self.settle(lambda: bool(self.train.findChildren(SurveyDialog)))
        self.take("t1-to-t2-pairs")
        for dialog in self.train.findChildren(SurveyDialog):
            dialog.close()
        self.train.setup.stop_preview_requested.emit()

    def run(self, folder: Path) -> None:
        """Train for a few minutes, or show the run that MRGEN_RUN names."""
        earlier = os.environ.get("MRGEN_RUN")
        if earlier:
            self.train.open_run(Path(earlier))
        else:
            self.choose(folder)
            self.train_with(CYCLE)
        self.settle(lambda: any("Preview" in layer.name for layer in self.viewer.layers))
        self.settle(lambda: bool(earlier) or self.train.session.state.step > 240, patience=3000)
        for name in ("side_by_side", "3-d"):
            self.train.findChild(QPushButton, name).click()
            self.settle(seconds=3)
            self.take(f"t1-to-t2-{name.replace('_', '-')}")
        self.settle(lambda: not self.train.session.state.is_busy, patience=3000)
        for name in ("3-d", "side_by_side"):
            self.train.findChild(QPushButton, name).click()

    def translate(self, path: Path) -> None:
        (scan,) = self.viewer.open(path, plugin="napari-mrgen")
        panel = self.train.open_generate()
        self.settle(lambda: "t1" in panel.inputs.pickers)
        panel.inputs.pickers["t1"].choose_layer(scan)
        self.viewer.dims.set_current_step(0, scan.data.shape[0] // 2)
        self.viewer.canvas.grid.enabled = True
        self.take_generated("t1-to-t2-generated", panel, scan)


TOURS = {tour.family: tour for tour in (CineTour, GanTour, CodesTour, CycleTour, RealTimeTour)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).with_name("images"))
    parser.add_argument("--only", choices=TOURS, action="append", help="may be repeated")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.only or TOURS:
        with tempfile.TemporaryDirectory() as home:
            os.environ["XDG_CONFIG_HOME"] = home
            viewer = napari.Viewer(title="napari")
            viewer.window.resize(*SIZE)
            viewer.window.set_geometry(0, 0, *SIZE)
            TOURS[name](viewer, options.folder, Path(home) / "runs").walk()
            viewer.close()


if __name__ == "__main__":
    main()
