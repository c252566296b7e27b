"""Generate panel: use a trained model on a scan in the viewer, and save the results."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import npe2
from napari import Viewer
from napari.layers import Layer
from napari.utils.notifications import show_info
from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QFileDialog, QVBoxLayout

from napari_mrgen import families
from napari_mrgen.app import window_work
from napari_mrgen.app.session import RunState, diagnostics
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import Family, GenerateConfig
from napari_mrgen.errors import MrgenError
from napari_mrgen.service.client import generator_for
from napari_mrgen.volume import Volume
from napari_mrgen.widgets import remember
from napari_mrgen.widgets.activity import Activity
from napari_mrgen.widgets.device_picker import DevicePicker
from napari_mrgen.widgets.form import Form
from napari_mrgen.widgets.layer_inputs import InputPickers, needs_scan
from napari_mrgen.widgets.model_picker import ModelPicker
from napari_mrgen.widgets.panel import Panel
from napari_mrgen.widgets.parts import ShareBar, button, group, row, scrolled
from napari_mrgen.widgets.preview_layers import add_volume, go_to
from napari_mrgen.widgets.worker import run_in_thread

if TYPE_CHECKING:
    from napari_mrgen.app.result_folder import ScanResult

FILTERS = "NIfTI (*.nii.gz *.nii);;Movie (*.gif *.mp4);;Pictures (*.png)"


class GeneratePanel(Panel):
    """The dock widget: model, input, settings, results."""

    generated = Signal(object)
    """The layers of a generation that has ended, if it written any."""
    folder_generated = Signal(object)
    """The result of each scan of a folder."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._control = Control()
        self._family: Family | None = None
        self.form: Form[GenerateConfig] | None = None
        self.results: list[Layer] = []
        self._done: list[ScanResult] = []
        self._details = ""
        self._samples = 1
        self.model = ModelPicker()
        self.inputs = InputPickers(napari_viewer.layers)
        self.device = DevicePicker(with_service=True)
        self._form_place = QVBoxLayout()
        self._activity = Activity(self)
        self._lay_out()
        self.model.changed.connect(self._on_model)
        self._show_family(None)
        self._on_model()

    # ------------------------------------------------------------ layout

    def _lay_out(self) -> None:
        self._bar = ShareBar()
        self._generate = button("Generate", self.generate, "Run the model")
        self._folder = button(
            "Folder…", self._on_folder, "Run the model on every scan of the chosen folder, "
            "and write the results into another", name="fill",
        )  # fmt: skip
        self._stop = button("Stop", self.stop, "Keep what there is and end")
        self._save = button("Save…", self._on_save, "Write the last result to a file", name="save")
        self._input_group = group("Start from", self.inputs)
        self._form_group = group("Settings", self._form_place)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(
            scrolled(
                group("Model", self.model),
                self._input_group,
                self._form_group,
                group("Computer", self.device),
            ),
            stretch=1,
        )
        bottom = QVBoxLayout()
        bottom.setContentsMargins(4, 0, 4, 4)
        bottom.setSpacing(4)
        for widget in (self._bar, self.headline):
            bottom.addWidget(widget)
        bottom.addLayout(row(self._generate, self._folder, self._stop, self._save))
        bottom.addLayout(
            row(
                button("Open run folder", self._on_open_folder),
                button("Copy diagnostics", self._on_diagnostics),
            )
        )
        layout.addLayout(bottom)

    # ------------------------------------------------------------ what the user asked for

    def use_model(self, path: Path) -> None:
        """Choose the model of a run folder or file."""
        self.model.use(path)

    def generate(self) -> None:
        """Read the form, once, and run the model with it."""
        form = self._read_form()
        if form is None:
            return
        model, sources, config, device = form
        self._samples = config.results
        control = self._control = Control()
        self.results = []
        self._set_busy("Generating… The result becomes a layer.")
        run_in_thread(
            lambda: window_work.generate_results(
                partial(generator_for, model, device), sources, config, control
            ),
            self._on_result,
            self._on_generated,
        )

    def generate_folder(self, out: Path) -> None:
        """Run the model on every scan of the folder that is chosen, and write into ``out``."""
        form = self._read_form()
        if form is None:
            return
        model, sources, config, device = form
        paths = {role: source for role, source in sources.items() if isinstance(source, Path)}
        if len(paths) < len(sources) or not any(path.is_dir() for path in paths.values()):
            self.complain("Choose a folder as input: Disk, then Choose a folder…")
            return
        control = self._control = Control()
        self._done = []
        self._set_busy("Reading the names of the scans…")
        run_in_thread(
            lambda: window_work.generate_into_folder(
                partial(generator_for, model, device), paths, out, config, control
            ),
            self._on_scan,
            lambda error: self._on_folder_generated(out, error),
        )

    def _read_form(self) -> tuple[Path, dict[str, Path | Volume], GenerateConfig, str] | None:
        """Return model, inputs, settings and device; None, with a complaint, where one lacks."""
        card = self.model.card
        if card is None or self.form is None:
            self.complain("Choose a trained model first; the Train panel makes one.")
            return None
        try:
            config = self.form.config()
            sources = {role: paths[0] for role, paths in self.inputs.sources().items()}
        except MrgenError as error:
            self.complain(str(error))
            return None
        remember.save_settings(f"generate_{card.family}", config)
        return card.path, sources, config, self.device.device()

    def save(self, path: Path) -> None:
        """Write the last result with napari's writers; the ending of the name says the format."""
        if not self.results:
            self.complain("There is no result to save yet; press Generate.")
            return
        # A list, for the worker gets values: the layer may change or go while it is written.
        data = [self._chosen_result().as_layer_data_tuple()]
        self._set_busy(f"Saving {path.name}…")
        run_in_thread(
            lambda: iter(npe2.write(str(path), data, plugin_name="napari-mrgen")),
            lambda saved: show_info(f"Saved {saved}."),
            lambda error: self._set_idle(f"Saved {path}.", error),
        )

    def _chosen_result(self) -> Layer:
        """Return the result that is selected in the layer list, or else the first."""
        active = self._viewer.layers.selection.active
        return active if active in self.results else self.results[0]

    def stop(self) -> None:
        """Ask for the work to end; the results so far are kept."""
        self._control.stop()
        self.headline.say("Stopping…")

    def _on_folder(self) -> None:
        out = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if out:
            self.generate_folder(Path(out))

    def _on_save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save the result", "generated.nii.gz", FILTERS)
        if name:
            self.save(Path(name))

    def _on_open_folder(self) -> None:
        if self.model.card is not None:
            folder = self.model.card.path
            folder = folder if folder.is_dir() else folder.parent
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def _on_diagnostics(self) -> None:
        state = RunState(
            run_dir=self.model.card.path if self.model.card else None,
            problem=self.headline.text(), details=self._details,
        )  # fmt: skip
        config = self.form.config() if self.form else None
        QApplication.clipboard().setText(diagnostics(state, config, self.device.describe()))
        show_info("Copied. Paste it into a report.")

    # ------------------------------------------------------------ what the worker reports

    def _on_model(self) -> None:
        card = self.model.card
        name = card.family if card else ""
        if name != (self._family.name if self._family else ""):
            self._show_family(families.get(name) if name else None)
        self._set_idle(_first_step(self._family))

    def _show_family(self, family: Family | None) -> None:
        self._family, self.form = family, None
        while self._form_place.count():
            self._form_place.takeAt(0).widget().deleteLater()
        if family is None:
            self.inputs.clear()
        else:
            self.inputs.show_inputs(family.generate_inputs, family.train_inputs)
        self._input_group.setVisible(bool(family and family.generate_inputs))
        self._form_group.setVisible(family is not None)
        if family is not None:
            last = remember.load_settings(f"generate_{family.name}", family.generate_config)
            self.form = Form(last or family.generate_config())
            self._form_place.addWidget(self.form)

    def _on_result(self, result: Volume | window_work.SampleCount) -> None:
        if self.is_closing:
            return
        if isinstance(result, window_work.SampleCount):
            self._show_progress(result.count)
        else:
            self._show_result(result)

    def _show_progress(self, count: int) -> None:
        self._show_share("Sampling", count / self._samples)
        self.headline.say(f"{count:,} of {self._samples:,} samples are generated…")

    def _show_result(self, volume: Volume) -> None:
        name = volume.name if "synthetic" in volume.name else f"{volume.name} (synthetic)"
        layer, layers = add_volume(self._viewer, volume, name=name), self._viewer.layers
        if self.results and self.results[-1] in layers:  # The first, which was asked for, on top.
            layers.move(layers.index(layer), layers.index(self.results[-1]))
        self.results.append(layer)
        go_to(self._viewer, self.results[0])
        self._viewer.layers.selection.active = self.results[0]

    def _on_scan(self, done: ScanResult) -> None:
        self._done.append(done)
        self._show_share("Generating", done.number / done.total)
        self.headline.say(f"{done.number} of {done.total}: {done.scan.name}")

    def _on_folder_generated(self, out: Path, error: BaseException | None) -> None:
        failed = [done for done in self._done if done.problem]
        written = len(self._done) - len(failed)
        total = self._done[-1].total if self._done else 0
        message = f"{written} of {total} scans are in {out}."
        if written + len(failed) < total:
            message += " Press Folder… again to go on."
        self._set_idle(message, error)
        if failed and error is None:
            first = f"{failed[0].scan.name}: {failed[0].problem}"
            self.complain(f"{message} {len(failed)} failed; scans.csv has the reasons. {first}")
        self.folder_generated.emit(self._done)

    def _on_generated(self, error: BaseException | None) -> None:
        if not self.results and error is None:
            self._set_idle("Stopped before there was a result.")
            return
        names = ", ".join(layer.name for layer in self.results)
        self._set_idle(
            f"Done: {names}. Look through it with the sliders below the image, or save it.", error
        )
        self.generated.emit(self.results)

    def _set_busy(self, text: str) -> None:
        self.is_busy = True
        self.headline.say(text)
        self._show_share(text, None)
        self._show_buttons()

    def _set_idle(self, text: str, error: BaseException | None = None) -> None:
        self.is_busy = False
        self._activity.close()
        self.headline.say(text)
        if error is not None:
            problem = window_work.failure_of(error)
            self._details = problem.details
            self.complain(f"{problem.message} {problem.advice}".strip())
        self._show_buttons()
        self.work_ended()

    def _show_share(self, text: str, share: float | None) -> None:
        self._bar.show_share(share)
        self._activity.show(text, share)

    def _show_buttons(self) -> None:
        self._bar.setVisible(self.is_busy)
        can_start = not self.is_busy and self.model.card is not None
        self._generate.setEnabled(can_start)
        self._folder.setEnabled(can_start)
        self._folder.setVisible(bool(self._family and self._family.generate_inputs))
        self._stop.setEnabled(self.is_busy)
        self._save.setEnabled(not self.is_busy and bool(self.results))


def _first_step(family: Family | None) -> str:
    """Say what to do before Generate can be pressed."""
    if family is None:
        return "Train a model first, or choose one from the disk."
    if needs_scan(family.generate_inputs, family.train_inputs):
        return "Choose a scan to start from, then press Generate."
    return "Press Generate."
