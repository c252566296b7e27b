"""Layer inputs: choose what to work on, among the layers in the viewer or on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.components import LayerList
from napari.layers import Image, Labels, Layer, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QLabel, QVBoxLayout, QWidget

from napari_mrgen.app.session import Sources
from napari_mrgen.engine.family import Input
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.formats import format_of
from napari_mrgen.io.layers import KEY, LayerData, from_layer, source_of
from napari_mrgen.io.masks import mask_of_shapes, mask_on_grid
from napari_mrgen.volume import Volume
from napari_mrgen.widgets.editors import combo
from napari_mrgen.widgets.parts import menu_button, row

TRANSIENT = "napari_mrgen_transient"
"""Metadata key of layers that only show something, such as previews: never an input."""


@dataclass(frozen=True)
class Choice:
    """An entry of the list: some layers, or a path."""

    layers: tuple[Layer, ...] = ()
    path: Path | None = None

    def sources(self, image: Path | Volume | None = None) -> tuple[Path | Volume, ...]:
        """Read the choice; a mask is put on the voxel grid of the image that it belongs to."""
        if self.path is not None:
            return (self.path,)
        return tuple(_read(layer, image) for layer in self.layers)


class InputPicker(QWidget):
    """One `Input` of a family: a list of the layers that fit, and a button for files."""

    changed = Signal()
    taken = Signal()
    """Something was chosen by the user."""

    def __init__(self, spec: Input, layers: LayerList, *, leads: bool = False) -> None:
        super().__init__()
        self.spec, self._layers = spec, layers
        self._leads = leads
        """Whether a layer that fits is chosen though the input is optional."""
        self._paths: list[Path] = []
        self._choices: list[Choice] = []
        self._is_chosen = False
        """By the user; until then a layer is chosen whose name says that it fits."""
        self._box = combo(f"input_{spec.role}", spec.help)
        self._box.currentIndexChanged.connect(lambda _index: self.changed.emit())
        self._box.activated.connect(lambda _index: self._choose())
        is_needed = leads or not spec.optional
        title = QLabel(spec.title if is_needed else f"{spec.title} (optional)")
        title.setToolTip(spec.help)
        disk = menu_button(
            "Disk",
            "Use a file or folder instead of a layer",
            {"Choose a file…": self._on_choose_file, "Choose a folder…": self._on_choose_folder},
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(title)
        layout.addLayout(row(self._box, disk))
        for event in (layers.events.inserted, layers.events.removed, layers.events.reordered):
            event.connect(self._on_layers_changed)
        self._fill()

    def sources(self, image: Path | Volume | None = None) -> tuple[Path | Volume, ...]:
        """Read the choice; layers become volumes here, on the window's own thread.

        A mask is put on the voxel grid of ``image``.

        Raises
        ------
        MrgenError
            If nothing is chosen that is needed.
        """
        choice = self._choice()
        if choice is None or choice == Choice():
            if self.spec.optional:
                return ()
            msg = f"{self.spec.title}: nothing is chosen; open a scan or choose a folder."
            raise MrgenError(msg)
        return choice.sources(image)

    def choose_path(self, path: Path) -> None:
        """Put a file or folder on the list and choose it."""
        if path not in self._paths:
            self._paths.append(path)
        self._choose(Choice(path=path))

    def choose_layer(self, layer: Layer) -> None:
        self._choose(Choice(layers=(layer,)))

    def _choose(self, choice: Choice | None = None) -> None:
        self._is_chosen = True
        self._fill(choice)
        if self._choice() not in (None, Choice()):
            self.taken.emit()

    def release(self) -> None:
        """Give up the automatic choice for another input, unless the user has chosen something."""
        if self._leads and not self._is_chosen:
            self._leads = False
            self._fill(Choice())

    def forget_layers(self) -> None:
        """Stop watching the viewer."""
        events = self._layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.disconnect(self._on_layers_changed)

    def _on_layers_changed(self, _event: Any = None) -> None:
        self._fill()

    def _choice(self) -> Choice | None:
        index = self._box.currentIndex()
        return self._choices[index] if 0 <= index < len(self._choices) else None

    def _fill(self, choice: Choice | None = None) -> None:
        """List what there is now, keeping the choice where it is still there."""
        before = self._choice()
        fitting = tuple(layer for layer in reversed(self._layers) if fits(layer, self.spec))
        alike = tuple(layer for layer in fitting if not _says_another(layer, self.spec))
        if choice is None:
            choice = before if self._is_chosen else self._named(alike) or self._led(before, alike)
        self._choices = [Choice(layers=(layer,)) for layer in fitting]
        if self.spec.many and len(alike) > 1:
            self._choices.append(Choice(layers=alike))
        self._choices += [Choice(path=path) for path in self._paths]
        if self.spec.optional:
            self._choices.insert(0, Choice())
        self._box.blockSignals(True)
        self._box.clear()
        self._box.addItems([self._text(choice) for choice in self._choices])
        chosen = self._choices.index(choice) if choice in self._choices else 0
        self._box.setCurrentIndex(chosen if self._choices else -1)
        self._box.setPlaceholderText("Open a scan, or choose a file…")
        self._box.blockSignals(False)
        if self._choice() != before:
            self.changed.emit()

    def _named(self, alike: tuple[Layer, ...]) -> Choice | None:
        """Choose for a training what says by its name that it fits."""
        named = tuple(layer for layer in alike if self.spec.is_named(Path(layer.name)))
        if not named or not self.spec.many:
            return None
        return Choice(layers=alike if named == alike else named[:1])

    def _led(self, before: Choice | None, alike: tuple[Layer, ...]) -> Choice | None:
        """Keep what is chosen; of an input that leads choose the newest layer if there is none."""
        is_open = before is None or before == Choice() or not set(before.layers) <= set(alike)
        return Choice(layers=alike[:1]) if self._leads and is_open else before

    def _text(self, choice: Choice) -> str:
        if choice.path is not None:
            return f"{choice.path.name}  ({choice.path.parent})"
        if not choice.layers:
            return "none"
        if len(choice.layers) > 1:
            return f"All {len(choice.layers)} fitting layers"
        (layer,) = choice.layers
        cases = f" ({len(layer.data)} cases)" if _is_set_of_cases(layer) else ""
        return f"Layer: {layer.name}{cases}"

    def _on_choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, self.spec.title)
        if path:
            self.choose_path(Path(path))

    def _on_choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, self.spec.title)
        if path:
            self.choose_path(Path(path))


class InputPickers(QWidget):
    """The pickers of all inputs of a family, made anew for another family."""

    changed = Signal()

    def __init__(self, layers: LayerList) -> None:
        super().__init__()
        self._layers = layers
        self.pickers: dict[str, InputPicker] = {}
        self._needs_one = False
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)

    def show_inputs(self, specs: Sequence[Input], trained: Sequence[Input] = ()) -> None:
        """Make a picker for each input of a model; ``trained`` is what it is trained on.

        That which most will want (see `lead_of`) takes a layer that fits, until the user chooses
        something for another one.
        """
        self.clear()
        lead, self._needs_one = lead_of(specs, trained), needs_scan(specs, trained)
        for one in specs:
            picker = InputPicker(one, self._layers, leads=one.optional and one.role == lead)
            picker.changed.connect(self.changed)
            if lead is not None and one.kind == "image" and one.role != lead:
                picker.taken.connect(lambda: self.pickers[lead].release())
            self._layout.addWidget(picker)
            self.pickers[one.role] = picker

    def sources(self) -> Sources:
        """Read all choices; an optional one that is left open is left out.

        A mask belongs to the image that is asked for before it.

        Raises
        ------
        MrgenError
            If nothing is chosen and something is needed.
        """
        sources: dict[str, tuple[Path | Volume, ...]] = {}
        image: Path | Volume | None = None
        for role, picker in self.pickers.items():
            chosen = picker.sources(image)
            if chosen:
                sources[role] = chosen
                image = chosen[0] if picker.spec.kind == "image" else image
        if self._needs_one and not sources:
            raise MrgenError(self._nothing_chosen())
        return sources

    def _nothing_chosen(self) -> str:
        images = [one.spec.title for one in self.pickers.values() if one.spec.kind == "image"]
        titles = " or ".join((", ".join(images[:-1]), images[-1]) if images[1:] else images)
        return f"{titles}: nothing is chosen; open a scan or choose a folder."

    def clear(self) -> None:
        for picker in self.pickers.values():
            picker.forget_layers()
            picker.deleteLater()
        self.pickers = {}


def needs_scan(specs: Sequence[Input], trained: Sequence[Input]) -> bool:
    """Whether a model needs one of its inputs, though each by itself may be optional.

    It does where it takes what it was trained on; one that is trained on slices and may be given
    an image generates without it.
    """
    roles = {one.role for one in trained}
    return any(not one.optional or one.role in roles for one in specs if one.kind == "image")


def lead_of(specs: Sequence[Input], trained: Sequence[Input]) -> str | None:
    """Return the role that most will want, of several that take the place of each other.

    Where the name of a layer says what it is for, as of contrasts, none is guessed.
    """
    images = [one for one in specs if one.kind == "image"]
    guessed = not any(one.named for one in images) and needs_scan(images, trained)
    return images[0].role if guessed else None


def fits(layer: Layer, spec: Input) -> bool:
    """Whether a layer may be this input: its kind, its number of axes, and their names if given."""
    if isinstance(layer, Shapes):
        return spec.kind == "labels" and "zyx" in spec.axes
    kind = Labels if spec.kind == "labels" else Image
    if not isinstance(layer, kind) or layer.multiscale or TRANSIENT in layer.metadata:
        return False
    if isinstance(layer, Image) and layer.rgb:
        return False
    if spec.from_file and not _is_of_raw_data(layer):
        return False
    names = "".join(layer.axis_labels)
    if not set(names) <= set("ntzyx"):  # not named by us: the usual order is taken
        names = "tzyx"[-layer.ndim :] if layer.ndim <= 4 else ""
    names = names if "z" in names else names.replace("yx", "zyx")
    if isinstance(layer, Labels) and spec.axes == ("zyx",):
        return names.endswith("zyx")
    if names.startswith("n") and spec.many and _is_set_of_cases(layer):
        names = names.removeprefix("n")
    return names in spec.axes


def _says_another(layer: Layer, spec: Input) -> bool:
    """Whether a layer says of itself that it is something else than an input asks for.

    By its name; or by its file, of raw data: its image has artefacts, so it is not a cine.
    """
    if spec.is_named(Path(layer.name)) is False:
        return True
    return not spec.from_file and _is_of_raw_data(layer)


def _is_of_raw_data(layer: Layer) -> bool:
    """Whether a layer is the image of a file of k-space."""
    source = source_of({"metadata": layer.metadata})
    return source is not None and format_of(Path(source.path)).is_raw


def _is_set_of_cases(layer: Layer) -> bool:
    """Whether a layer's samples are scans, not samples of a model."""
    return bool(layer.metadata.get(KEY, {}).get("cases"))


def _read(layer: Layer, image: Path | Volume | None) -> Volume:
    data: LayerData = layer.as_layer_data_tuple()
    if isinstance(layer, Shapes):
        if not isinstance(image, Volume):
            msg = f"{layer.name}: choose the image's layer too; shapes mark a part of it."
            raise MrgenError(msg)
        return mask_of_shapes(data, image)
    volume = from_layer(data)
    if volume.kind == "labels" and isinstance(image, Volume) and image.axes == "zyx":
        return mask_on_grid(volume, image)
    return volume
