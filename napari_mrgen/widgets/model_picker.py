"""Model picker: which trained model to use, and its description."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from napari_mrgen.app.info import ModelCard, read_card
from napari_mrgen.errors import MrgenError
from napari_mrgen.widgets import remember
from napari_mrgen.widgets.editors import combo
from napari_mrgen.widgets.parts import Note, menu_button, row

MOST_RECENT = 10


class ModelPicker(QWidget):
    """Lists the runs that have a model, the newest first, and files from elsewhere."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.card: ModelCard | None = None
        self._others: list[Path] = []
        self._box = combo("model")
        self._box.setPlaceholderText("Train a model first, or choose one…")
        disk = menu_button(
            "Disk",
            "Use a model from elsewhere",
            {
                "Choose a run folder…": self._on_choose_folder,
                "Choose a model file…": self._on_choose_file,
            },
        )
        self._note = Note()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(row(self._box, disk))
        layout.addWidget(self._note)
        self._fill(None)
        self._box.currentIndexChanged.connect(lambda _index: self._read())
        self._read()

    def use(self, path: Path) -> None:
        """Choose a run folder or a model file, listed or not."""
        path = path.parent if path.name == "model.safetensors" else path
        if path not in self._others:
            self._others.insert(0, path)
        self._fill(path)
        self._read()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Look for new models whenever the panel comes up."""
        super().showEvent(event)
        self._fill(self.card.path if self.card else None)

    def _fill(self, chosen: Path | None) -> None:
        paths = list(dict.fromkeys((*self._others, *_last_model(), *recent_models())))
        self._box.blockSignals(True)
        self._box.clear()
        for path in paths:
            self._box.addItem(path.name, path)
            self._box.setItemData(self._box.count() - 1, str(path), 3)  # 3: the tooltip
        if paths:
            self._box.setCurrentIndex(paths.index(chosen) if chosen in paths else 0)
        self._box.blockSignals(False)

    def _read(self) -> None:
        path = self._box.currentData()
        try:
            self.card = read_card(path) if path else None
            self._note.say(self.card.text if self.card else "There is no trained model yet.")
        except MrgenError as error:
            self.card = None
            self._note.say(str(error), warning=True)
        self.changed.emit()

    def _on_choose_folder(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "Choose a run folder"):
            self.use(Path(path))

    def _on_choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Choose a model file", "", "Models (*.safetensors)"
        )
        if path:
            self.use(Path(path))


def recent_models() -> list[Path]:
    """Return the newest runs in the folder where the Train panel keeps them."""
    runs = Path(remember.recall("runs") or Path.home() / "napari-mrgen")
    models = sorted(runs.glob("*/model.safetensors"), key=lambda p: p.stat().st_mtime)
    return [model.parent for model in models[::-1][:MOST_RECENT]]


def _last_model() -> list[Path]:
    last = remember.recall("model")
    return [Path(last)] if last and (Path(last) / "model.safetensors").exists() else []
