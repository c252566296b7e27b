"""Setup view: what to train, on what, how and where. It holds no run and no viewer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from napari.components import LayerList
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QLineEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_mrgen import families
from napari_mrgen.app.session import TrainRequest
from napari_mrgen.engine.family import Advice, DataPreview, Family, Plan, Survey, TrainConfig
from napari_mrgen.errors import MrgenError
from napari_mrgen.widgets import remember
from napari_mrgen.widgets.device_picker import NO_GPU_TO_TRAIN, DevicePicker
from napari_mrgen.widgets.editors import combo
from napari_mrgen.widgets.form import Form
from napari_mrgen.widgets.layer_inputs import InputPickers, fits
from napari_mrgen.widgets.looker import LookProgress
from napari_mrgen.widgets.memory_advice import MemoryAdvice
from napari_mrgen.widgets.parts import Note, button, group, row, scrolled

OWN_HINT = "Your own settings."
OWN = "own settings"


class SetupView(QWidget):
    """The form of a training, from the family down to the run folder."""

    changed = Signal()
    look_at_data_requested = Signal()
    stop_looking_requested = Signal()
    look_at_model_requested = Signal()
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
        self.looking = LookProgress(self.stop_looking_requested.emit)
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

    def job(self) -> TrainRequest:
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
        """Hold the needs of the training against what there is, and offer what makes it fit."""
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
        """Say what will be done with the scans, in the place of what the plan knows of them."""
        self._survey = survey
        self._survey_note.say("\n".join(survey.notes) if survey else "")

    def show_data(self, look: DataPreview | None) -> None:
        """Say how the subjects are split and what looks wrong in the data."""
        if look is None:
            self._data_note.say("")
            return
        held = f"{_subjects(look.test)} held out for testing" if look.test else "none held out"
        lines = [
            f"The new layer shows {_examples(look)} examples, alone until you press Train.",
            f"{_subjects(look.train)} to train on, {held}.",
            *look.warnings,
        ]
        self._data_note.say("\n".join(lines), warning=bool(look.warnings))

    # ------------------------------------------------------------ layout

    def _lay_out(self) -> None:
        look_data = button(
            "Look at the data", self.look_at_data_requested.emit,
            "Add a layer with exactly what the model will see, and check it",
        )  # fmt: skip
        look_model = button(
            "Look at the model", self.look_at_model_requested.emit,
            "List its layers, weights and the memory that it needs",
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
                    look_data,
                    self.looking,
                    self._survey_note,
                    self._data_note,
                ),
                group("Settings", self._preset_box, self._preset_hint, self._form_place, settings),
                group("Computer", self.device, self.memory, look_model),
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
    known = [families.get(name) for name in families.names()]
    last = [family for family in known if family.name == remember.recall("family")]
    fitting = (f for f in known if any(fits(layer, f.train_inputs[0]) for layer in layers))
    return last[0] if last else next(fitting, known[0])


def _examples(look: DataPreview) -> int:
    """Count what a montage shows: cases side by side, or slices one behind the other."""
    return look.montage.size("n" if "n" in look.montage.axes else "z")


def _subjects(names: tuple[str, ...]) -> str:
    return "1 subject" if len(names) == 1 else f"{len(names)} subjects"
