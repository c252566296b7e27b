"""Device picker: where to train, with the memory that is free there."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mrgen.engine.family import Plan
from napari_mrgen.widgets.editors import combo
from napari_mrgen.widgets.helper import Helper
from napari_mrgen.widgets.parts import Note
from napari_mrgen.widgets.wording import size

NO_GPU = "No GPU was found: the model runs on the processor."
NO_GPU_TO_TRAIN = (
    f"{NO_GPU} The presets tiny and quick are made for that; base would take many hours."
)


class DevicePicker(QWidget):
    """Lists the devices as soon as a helper process has found them; "auto" until then."""

    listed = Signal()
    chosen = Signal()

    def __init__(self, without_gpu: str = NO_GPU) -> None:
        super().__init__()
        self._without_gpu = without_gpu
        self._devices: list[dict[str, Any]] = []
        self._needed = 0
        self._has_advice = False
        self._box = combo("device")
        self._box.addItem("Automatic", "auto")
        self._box.currentIndexChanged.connect(lambda _index: self._show_memory())
        self._box.activated.connect(lambda _index: self.chosen.emit())
        self._note = Note("Looking for devices…")
        self._memory = Note()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for widget in (self._box, self._note, self._memory):
            layout.addWidget(widget)
        self._helper = Helper(self)
        self._helper.answered.connect(self._on_listed)
        self._helper.failed.connect(self._on_failed)
        self._helper.ask(["devices", "--json"])

    def device(self) -> str:
        return str(self._box.currentData())

    def text(self) -> str:
        """Return what is said about the devices."""
        return f"{self._note.text()} {self._memory.text()}".strip()

    def describe(self) -> str:
        return "; ".join(f"{d['name']} {d['title']}" for d in self._devices)

    def show_plan(self, plan: Plan | None) -> None:
        """Hold the memory that a training needs against what there is."""
        self._needed = plan.memory_bytes if plan else 0
        self._has_advice = bool(plan and plan.advice)
        self._show_memory()

    def _on_listed(self, devices: list[dict[str, Any]]) -> None:
        self._devices = devices
        for device in devices:
            free = size(device["free_bytes"])
            self._box.addItem(f"{device['title']}, {free} free", device["name"])
        has_gpu = any(device["name"] != "cpu" for device in devices)
        self._note.say("" if has_gpu else self._without_gpu, warning=not has_gpu)
        self._show_memory()
        self.listed.emit()

    def _on_failed(self, problem: str) -> None:
        self._note.say(f"The devices could not be listed: {problem}", warning=True)
        self.listed.emit()

    def _show_memory(self) -> None:
        free = self._free_bytes()
        if not self._needed or free is None:
            self._memory.say("")
            return
        text = f"This training needs about {size(self._needed)} of memory; {size(free)} are free."
        if self._needed > free:
            text += " That is too little"
            text += "." if self._has_advice else ": choose a smaller preset or batch size."
        self._memory.say(text, warning=self._needed > free)

    def _free_bytes(self) -> int | None:
        """Free memory of the chosen device; automatic takes the first GPU, else the processor."""
        order = sorted(self._devices, key=lambda device: device["name"] == "cpu")
        wanted = self.device()
        chosen = [d for d in order if wanted in ("auto", d["name"])]
        return int(chosen[0]["free_bytes"]) if chosen else None
