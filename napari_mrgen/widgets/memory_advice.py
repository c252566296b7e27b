"""Memory advice: how exact to compute, and one press for what makes a training fit."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QVBoxLayout, QWidget

from napari_mrgen.engine.family import Advice, Plan
from napari_mrgen.widgets.editors import combo
from napari_mrgen.widgets.parts import Note, button
from napari_mrgen.wording import format_size

PRECISIONS = {
    "auto": "Automatic",
    "32-true": "32 bit",
    "bf16-mixed": "bfloat16, for less memory",
}


class MemoryAdvice(QWidget):
    """The precision, and a button for each change with which the training fits."""

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
        """Offer what the plan advises; nothing for a training that fits."""
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
