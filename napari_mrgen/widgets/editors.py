"""Editors: one small widget for each type that a Config field can have.

An editor shows a value and gives exactly that value back. Ticks and choices are magicgui's. Its
other widgets change values: a spin box shows 1e-4 as 0.0, refuses None, and has limits where the
setting has none; a file field makes a relative path absolute. Those types have editors here.
"""

from __future__ import annotations

import math
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from magicgui.widgets import create_widget
from pydantic.fields import FieldInfo
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)


@dataclass(frozen=True)
class Limits:
    """Smallest and largest allowed number; the ends may be excluded."""

    low: float = -math.inf
    high: float = math.inf
    low_excluded: bool = False
    high_excluded: bool = False

    @classmethod
    def of(cls, info: FieldInfo) -> Limits:
        ends: dict[str, Any] = {}
        for constraint in info.metadata:
            for name, end in (("ge", "low"), ("gt", "low"), ("le", "high"), ("lt", "high")):
                if hasattr(constraint, name):
                    ends[end] = getattr(constraint, name)
                    ends[f"{end}_excluded"] = name in ("gt", "lt")
        return cls(**ends)

    def allow(self, value: float) -> bool:
        above = value > self.low if self.low_excluded else value >= self.low
        below = value < self.high if self.high_excluded else value <= self.high
        return above and below


class Editor(QWidget):
    """Base: shows one value, says when the user changed it."""

    changed = Signal()

    def __init__(self, *widgets: QWidget, vertical: bool = False) -> None:
        super().__init__()
        layout = QVBoxLayout(self) if vertical else QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in widgets:
            layout.addWidget(widget)

    def value(self) -> Any:
        raise NotImplementedError

    def set_value(self, value: Any) -> None:
        raise NotImplementedError


def editor_for(annotation: Any, limits: Limits = Limits()) -> Editor:
    """Make the editor of a field's type."""
    plain, optional = _without_none(annotation)
    if plain is bool:
        return OptionalEditor(MagicEditor(bool)) if optional else MagicEditor(bool)
    if plain in (int, float):
        return NumberEditor(plain, limits, optional=optional)
    if plain is Path:
        return PathEditor(optional=optional)
    if get_origin(plain) is Literal:
        choices = [(str(choice), choice) for choice in get_args(plain)]
        return MagicEditor(plain, choices=[("none", None), *choices] if optional else choices)
    if get_origin(plain) is tuple:
        editor = TupleEditor([editor_for(part, limits) for part in get_args(plain)])
        return OptionalEditor(editor) if optional else editor
    msg = f"A form cannot show {annotation!r}."
    raise TypeError(msg)


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [a for a in get_args(annotation) if a is not type(None)]
        return rest[0], len(rest) < len(get_args(annotation))
    return annotation, False


class MagicEditor(Editor):
    """A tick or a list of choices: the magicgui widget of the annotation."""

    def __init__(self, annotation: Any, **options: Any) -> None:
        widget: Any = create_widget(annotation=annotation, options=options)
        self._widget = widget
        super().__init__(self._widget.native)
        if isinstance(self._widget.native, QComboBox):
            keep_narrow(self._widget.native)
        self._widget.changed.connect(lambda _value: self.changed.emit())

    def value(self) -> Any:
        return self._widget.value

    def set_value(self, value: Any) -> None:
        self._widget.value = value


class PathEditor(Editor):
    """A file or folder, typed or chosen; empty is None."""

    def __init__(self, *, optional: bool) -> None:
        self._line = QLineEdit()
        browse = QToolButton()
        browse.setText("…")
        browse.setToolTip("Choose a file")
        super().__init__(self._line, browse)
        self._line.setPlaceholderText("none" if optional else "")
        self._optional = optional
        self._line.textChanged.connect(lambda _text: self.changed.emit())
        browse.clicked.connect(self._on_browse)

    def value(self) -> Path | None:
        text = self._line.text().strip()
        return Path(text) if text or not self._optional else None

    def set_value(self, value: Path | None) -> None:
        self._line.setText("" if value is None else str(value))

    def _on_browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Choose a file", self._line.text())
        if path:
            self._line.setText(path)


class TupleEditor(Editor):
    """A fixed number of values side by side."""

    def __init__(self, parts: list[Editor]) -> None:
        super().__init__(*parts)
        self._parts = parts
        for part in parts:
            part.changed.connect(self.changed)

    def value(self) -> tuple[Any, ...]:
        return tuple(part.value() for part in self._parts)

    def set_value(self, value: tuple[Any, ...]) -> None:
        for part, one in zip(self._parts, value, strict=True):
            part.set_value(one)


class OptionalEditor(Editor):
    """A tick in front of an editor; without it the value is None."""

    def __init__(self, inner: Editor) -> None:
        self._tick = QCheckBox()
        self._tick.setToolTip("Tick to set a value")
        super().__init__(self._tick, inner)
        self.layout().setStretch(1, 1)
        self._inner = inner
        inner.setEnabled(False)
        inner.changed.connect(self.changed)
        self._tick.toggled.connect(inner.setEnabled)
        self._tick.toggled.connect(lambda _on: self.changed.emit())

    def value(self) -> Any:
        return self._inner.value() if self._tick.isChecked() else None

    def set_value(self, value: Any) -> None:
        self._tick.setChecked(value is not None)
        if value is not None:
            self._inner.set_value(value)


class NumberEditor(Editor):
    def __init__(self, kind: type[int] | type[float], limits: Limits, *, optional: bool) -> None:
        self._box = NumberBox(kind, limits, optional=optional)
        super().__init__(self._box)
        ignore_wheel(self._box)
        self._box.changed.connect(self.changed)

    def value(self) -> float | None:
        return self._box.value()

    def set_value(self, value: float | None) -> None:
        self._box.set_value(value)


class NumberBox(QAbstractSpinBox):
    """A spin box that keeps every number exactly as it is, however small, and None as empty."""

    changed = Signal()

    def __init__(self, kind: type[int] | type[float], limits: Limits, *, optional: bool) -> None:
        super().__init__()
        self._kind, self._limits, self._optional = kind, limits, optional
        self._value: float | None = None if optional else self._nearest(0)
        self.lineEdit().setPlaceholderText("automatic" if optional else "")
        self._show()
        self.lineEdit().textEdited.connect(self._on_edited)
        self.editingFinished.connect(self._show)

    def value(self) -> float | None:
        return self._value

    def set_value(self, value: float | None) -> None:
        self._value = value
        self._show()
        self.changed.emit()

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """Accept an allowed value, and let the user go on typing what may become one."""
        is_allowed, _ = self._parse(text)
        state = QValidator.State.Acceptable if is_allowed else QValidator.State.Intermediate
        return state, text, position

    def fixup(self, _text: str) -> str:
        return self._text()

    def stepEnabled(self) -> QAbstractSpinBox.StepEnabledFlag:  # noqa: N802 - Qt's name
        flag = QAbstractSpinBox.StepEnabledFlag
        return flag.StepUpEnabled | flag.StepDownEnabled

    def stepBy(self, steps: int) -> None:  # noqa: N802 - Qt's name
        self.set_value(self._nearest(_step(self._kind, self._value or 0, steps)))

    def _on_edited(self, text: str) -> None:
        is_allowed, value = self._parse(text)
        if is_allowed and value != self._value:
            self._value = value
            self.changed.emit()

    def _parse(self, text: str) -> tuple[bool, float | None]:
        """Whether the text is an allowed value, and which."""
        if not text.strip():
            return self._optional, None
        try:
            value = self._kind(text)
        except ValueError:
            return False, None
        return self._limits.allow(value), value

    def _nearest(self, value: float) -> float | None:
        """Clip a step to the limits; keep the value where that end is excluded."""
        inside = min(max(value, self._limits.low), self._limits.high)
        if self._limits.allow(inside):
            return self._kind(inside)
        if self._kind is int:
            return int(inside + (1 if inside == self._limits.low else -1))
        return getattr(self, "_value", None) or self._middle()

    def _middle(self) -> float:
        low, high = self._limits.low, self._limits.high
        return (low + high) / 2 if math.isfinite(low + high) else low + 1

    def _text(self) -> str:
        return "" if self._value is None else repr(self._value)

    def _show(self) -> None:
        if self.lineEdit().text() != self._text():
            self.lineEdit().setText(self._text())


def _step(kind: type[int] | type[float], value: float, steps: int) -> float:
    """Step integers by one and other numbers by one in their leading digit."""
    if kind is int:
        return value + steps
    if value == 0:
        return 0.1 * steps
    exponent = math.floor(math.log10(abs(value)))
    if abs(value) == 10.0**exponent and steps * value < 0:
        exponent -= 1
    return float(f"{value + steps * 10.0**exponent:.12g}")


def combo(name: str = "", tip: str = "") -> QComboBox:
    """Make a list to choose from."""
    box = QComboBox()
    box.setObjectName(name)
    box.setToolTip(tip)
    keep_narrow(box)
    return box


def keep_narrow(box: QComboBox) -> None:
    """Let a list fill its place without making the panel wider, and ignore the wheel."""
    box.setMinimumWidth(90)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    ignore_wheel(box)


class _WheelGuard(QObject):
    """Leaves the wheel to the scroll area unless the widget has the focus."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return False


def ignore_wheel(widget: QWidget) -> None:
    """Keep scrolling through a panel from changing the values that it passes over."""
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_WheelGuard(widget))
