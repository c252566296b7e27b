"""Setup view: what to train, on what, how and where. It has no run and no viewer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from napari.components import LayerList
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_mrgen import families
from napari_mrgen.app.session import TrainRequest
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.family import Advice, DataPreview, Family, Plan, Survey, TrainConfig
from napari_mrgen.errors import MrgenError
from napari_mrgen.widgets import remember
from napari_mrgen.widgets.device_picker import NO_GPU_TO_TRAIN, DevicePicker
from napari_mrgen.widgets.editors import combo
from napari_mrgen.widgets.form import Form
from napari_mrgen.widgets.layer_inputs import InputPickers, fits
from napari_mrgen.widgets.parts import Note, ShareBar, button, group, row, scrolled
from napari_mrgen.wording import format_size

PRECISIONS = {
    "auto": "Automatic",
    "32-true": "32 bit",
    "bf16-mixed": "bfloat16, for less memory",
}
OWN_HINT = "Your own settings."
OWN = "own settings"


class SetupView(QWidget):
    """The form of a training, from the family down to the run folder."""

    changed = Signal()
    preview_data_requested = Signal()
    stop_preview_requested = Signal()
    model_summary_requested = Signal()
    failed = Signal(str)

    def __init__(self, layers: LayerList) -> None:
        super().__init__()
        self.family: Family = _likely_family(layers)
        self.form: Form[TrainConfig]
        self._family_box = combo("family")
        self._summary = Note()
        self._preset_box = combo("preset")
        self._preset_hint = Note()
        self.inputs = InputPickers(layers)
        self.preview_progress = PreviewProgress(self.stop_preview_requested.emit)
        self._survey: Survey | None = None
        self._survey_note = Note()
        self._survey_note.setObjectName("survey_note")
        self._data_note = Note()
        self._form_place = QVBoxLayout()
        self.device = DevicePicker(NO_GPU_TO_TRAIN)
        self.memory = MemoryAdvice()
        self._planned_precision = ""
        self._runs = QLineEdit(remember.recall("runs") or str(Path.home() / "napari-mrgen"))
        self._lay_out()
        self._fill_families()
        self._show_family()
        self._family_box.activated.connect(self._on_family_chosen)
        self._preset_box.activated.connect(self._on_preset_chosen)
        self.inputs.changed.connect(self._on_inputs_changed)
        self.device.chosen.connect(self.changed)
        self.memory.precision_changed.connect(self.changed)
        self.memory.advice_taken.connect(self.take_advice)

    def request(self) -> TrainRequest:
        """Read the whole form, once.

        Raises
        ------
        MrgenError
            If something is missing or cannot be.
        """
        return TrainRequest(
            self.family, self.form.config(), self.inputs.sources(), self._new_run_dir(),
            self.device.device(), self.memory.precision(),
        )  # fmt: skip

    def config(self) -> TrainConfig | None:
        """Return the settings as they stand, or None if they cannot be."""
        try:
            return self.form.config()
        except MrgenError:
            return None

    def remember(self) -> None:
        """Keep the choices for the next time."""
        remember.note("family", self.family.name)
        remember.note("runs", self._runs.text())
        remember.save_settings(f"train_{self.family.name}", self.form.config())

    def choose_family(self, name: str) -> None:
        self.family = families.get(name)
        self._family_box.setCurrentIndex(self._family_box.findData(name))
        self._show_family()
        self.changed.emit()

    def choose_preset(self, name: str) -> None:
        self.form.set_config(self.family.preset(name))
        self._on_form_changed()

    def choose_runs_folder(self, folder: Path) -> None:
        self._runs.setText(str(folder))

    def show_config(self, config: TrainConfig) -> None:
        """Put settings into the form, such as those of an earlier run."""
        self.form.set_config(config)
        self._on_form_changed()

    def save_settings(self, path: Path) -> None:
        path.write_text(self.form.config().to_yaml(), encoding="utf-8")

    def load_settings(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8", errors="replace")
        self.show_config(self.family.train_config.from_yaml(text))

    def show_plan(self, plan: Plan | None) -> None:
        """Compare what the training needs with what is free, and offer what makes it fit."""
        self.device.show_plan(plan)
        self.memory.show_plan(plan)
        self._planned_precision = plan.precision if plan else ""
        if self._survey is None:
            self._survey_note.say("\n".join(plan.notes) if plan else "")

    def take_advice(self, advice: Advice) -> None:
        """Change the settings so that the training fits."""
        if advice.precision != self._planned_precision:  # Automatic stays where it leads to it.
            self.memory.choose_precision(advice.precision)
        self.show_config(self.form.config().with_values(dict(advice.changes)))

    def show_survey(self, survey: Survey | None) -> None:
        """Say what will be done with the scans; the survey takes the place of the plan's notes."""
        self._survey = survey
        self._survey_note.say("\n".join(survey.notes) if survey else "")

    def show_data(self, preview: DataPreview | None) -> None:
        """Say how the subjects are split, and warn of what looks wrong in the data."""
        if preview is None:
            self._data_note.say("")
            return
        held_out = f"{_subjects(preview.test)} held out" if preview.test else "none held out"
        lines = [
            f"The new layer shows {_examples(preview)} examples, alone until you press Train.",
            f"{_subjects(preview.train)} to train on, {held_out}.",
            *preview.warnings,
        ]
        self._data_note.say("\n".join(lines), warning=bool(preview.warnings))

    # ------------------------------------------------------------ layout

    def _lay_out(self) -> None:
        preview_data = button(
            "Preview data", self.preview_data_requested.emit,
            "Check the data, and add a layer with what the networks are given",
        )  # fmt: skip
        model_summary = button(
            "Model summary", self.model_summary_requested.emit,
            "List the layers, their weights and the memory that training needs",
        )  # fmt: skip
        settings = row(
            button("Save settings…", self._on_save, "Write these settings to a YAML file"),
            button("Load settings…", self._on_load, "Read settings from a YAML file"),
        )
        self._runs.setToolTip("Each run gets a folder of its own in here")
        browse = QToolButton()
        browse.setText("…")
        browse.clicked.connect(self._on_browse_runs)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(
            scrolled(
                group("Model", self._family_box, self._summary),
                group(
                    "Train on",
                    self.inputs,
                    preview_data,
                    self.preview_progress,
                    self._survey_note,
                    self._data_note,
                ),
                group("Settings", self._preset_box, self._preset_hint, self._form_place, settings),
                group("Computer", self.device, self.memory, model_summary),
                group("Keep runs in", row(self._runs, browse)),
            )
        )

    def _fill_families(self) -> None:
        for name in families.names():
            self._family_box.addItem(families.get(name).title, name)
        self._family_box.setCurrentIndex(self._family_box.findData(self.family.name))

    def _show_family(self) -> None:
        family = self.family
        self._summary.say(family.summary)
        self._preset_box.clear()
        for index, (name, preset) in enumerate(family.presets.items()):
            self._preset_box.addItem(name, name)
            self._preset_box.setItemData(index, preset.help, Qt.ItemDataRole.ToolTipRole)
        self._preset_box.addItem(OWN, "")
        self.inputs.show_inputs(family.train_inputs, family.train_inputs)
        default = (family.presets.get("quick") or next(iter(family.presets.values()))).config
        last = remember.load_settings(f"train_{family.name}", family.train_config)
        self._replace_form(Form(last or default))
        self._show_preset()

    def _replace_form(self, form: Form[TrainConfig]) -> None:
        if self._form_place.count():
            old = self._form_place.takeAt(0).widget()
            old.deleteLater()
        self.form = form
        self._form_place.addWidget(form)
        form.changed.connect(self._on_form_changed)

    def _show_preset(self) -> None:
        """Name the preset that the form holds, if it does."""
        config = self.config()
        matching = [name for name, preset in self.family.presets.items() if preset.config == config]
        name = matching[0] if matching else ""
        self._preset_box.setCurrentIndex(self._preset_box.findData(name))
        preset = self.family.presets.get(name)
        self._preset_hint.say(preset.summary if preset else OWN_HINT)

    def _new_run_dir(self) -> Path:
        stamp = datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S")
        return Path(self._runs.text()).expanduser() / f"{self.family.name}_{stamp}"

    # ------------------------------------------------------------ what the user did

    def _on_family_chosen(self, index: int) -> None:
        self.choose_family(str(self._family_box.itemData(index)))

    def _on_preset_chosen(self, index: int) -> None:
        if name := str(self._preset_box.itemData(index)):
            self.choose_preset(name)

    def _on_form_changed(self) -> None:
        self._show_preset()
        self.show_survey(None)
        self.changed.emit()

    def _on_inputs_changed(self) -> None:
        self.show_data(None)
        self.show_survey(None)
        self.changed.emit()

    def _on_browse_runs(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Keep runs in", self._runs.text())
        if folder:
            self._runs.setText(folder)

    def _on_save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(
            self, "Save settings", f"{self.family.name}.yaml", "Settings (*.yaml)"
        )
        if name:
            self._try(lambda: self.save_settings(Path(name)))

    def _on_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load settings", "", "Settings (*.yaml *.yml)")
        if name:
            self._try(lambda: self.load_settings(Path(name)))

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except (MrgenError, OSError) as error:
            self.failed.emit(str(error))


def _likely_family(layers: LayerList) -> Family:
    """Return the family last used, or else the first that can train on what is open."""
    all_families = [families.get(name) for name in families.names()]
    last = [family for family in all_families if family.name == remember.recall("family")]
    fitting = (f for f in all_families if any(fits(layer, f.train_inputs[0]) for layer in layers))
    return last[0] if last else next(fitting, all_families[0])


def _examples(preview: DataPreview) -> int:
    """Count the examples of a montage: cases side by side, or slices."""
    return preview.montage.size("n" if "n" in preview.montage.axes else "z")


def _subjects(names: tuple[str, ...]) -> str:
    return "1 subject" if len(names) == 1 else f"{len(names)} subjects"


# ---------------------------------------------------------------- parts of the view


class PreviewProgress(QWidget):
    """Progress of the data preview, and a button that stops it; hidden while there is none."""

    def __init__(self, stop: Callable[[], object]) -> None:
        super().__init__()
        self._note = Note()
        self._bar = ShareBar()
        self._stop = button("Stop preview", stop, "Stop; what has been read so far stays")
        line = QHBoxLayout()
        line.addWidget(self._bar, stretch=1)
        line.addWidget(self._stop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self._note)
        layout.addLayout(line)
        self.hide()

    def show_step(self, step: Progress) -> None:
        part = f" ({step.done + 1:.0f} of {step.total:.0f})" if step.done < step.total else ""
        self._note.say(f"{step.message}{part}…")
        self._bar.show_share(step.fraction)
        self.show()


class MemoryAdvice(QWidget):
    """The numerical precision, and a button for each change with which the training fits."""

    precision_changed = Signal()
    advice_taken = Signal(object)
    """The `Advice` whose button was pressed."""

    def __init__(self) -> None:
        super().__init__()
        self._box = combo("precision")
        for name, title in PRECISIONS.items():
            self._box.addItem(title, name)
        self._box.setToolTip("Automatic takes bfloat16 where the device is quicker with it")
        self._box.currentIndexChanged.connect(lambda _index: self.precision_changed.emit())
        self._note = Note()
        self._buttons = QVBoxLayout()
        self._buttons.setSpacing(3)
        precision = QFormLayout()
        precision.addRow("Precision", self._box)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(precision)
        layout.addWidget(self._note)
        layout.addLayout(self._buttons)

    def precision(self) -> str:
        return str(self._box.currentData())

    def choose_precision(self, name: str) -> None:
        self._box.setCurrentIndex(self._box.findData(name))

    def show_plan(self, plan: Plan | None) -> None:
        """Offer the changes that the plan advises; none for a training that fits."""
        while self._buttons.count():
            self._buttons.takeAt(0).widget().deleteLater()
        advice = plan.advice if plan else ()
        self._note.say("With one of these it fits:" if advice else "")
        for number, one in enumerate(advice):
            text = f"{one.title[:1].upper()}{one.title[1:]}: {format_size(one.memory_bytes)}"
            take = partial(self.advice_taken.emit, one)
            self._buttons.addWidget(button(text, take, _tip(one), name=f"advice_{number}"))


def _tip(advice: Advice) -> str:
    changes = [f"{name} {value}" for name, value in advice.changes.items()]
    return f"Sets {', '.join([*changes, PRECISIONS[advice.precision]])}"
