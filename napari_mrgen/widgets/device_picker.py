"""Device picker: where to train or to generate, with the memory that is free there."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QInputDialog, QLineEdit, QVBoxLayout, QWidget

from napari_mrgen.engine.family import Plan
from napari_mrgen.errors import MrgenError
from napari_mrgen.service.client import Address
from napari_mrgen.widgets import remember
from napari_mrgen.widgets.editors import combo
from napari_mrgen.widgets.parts import Note
from napari_mrgen.widgets.planner import CommandProcess
from napari_mrgen.wording import format_size

NO_GPU = "No GPU was found: the model runs on the processor."
NO_GPU_TO_TRAIN = (
    f"{NO_GPU} The presets tiny and quick are made for that; base would take many hours."
)

NEW_SERVICE = ""
"""Of the entry that asks for the address of a service."""
ASK = (
    "Address of the service, with its token, as `napari-mrgen serve` prints it:\n"
    "http://127.0.0.1:8501/?token=…"
)


class DevicePicker(QWidget):
    """Lists the devices as soon as a process of its own has found them; "auto" until then.

    Parameters
    ----------
    without_gpu
        What is said where there is no GPU.
    with_service
        Whether the device may be a service on another machine.
    """

    listed = Signal()
    chosen = Signal()

    def __init__(self, without_gpu: str = NO_GPU, *, with_service: bool = False) -> None:
        super().__init__()
        self._without_gpu = without_gpu
        self._devices: list[dict[str, Any]] = []
        self._needed = 0
        self._has_advice = False
        self._box = combo("device")
        self._box.addItem("Automatic", "auto")
        self._last = "auto"
        if with_service:
            self._box.addItem("A service…", NEW_SERVICE)
        self._box.currentIndexChanged.connect(lambda _index: self._show_choice())
        self._box.activated.connect(lambda _index: self._on_activated())
        self._note = Note("Looking for devices…")
        self._memory = Note()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for widget in (self._box, self._note, self._memory):
            layout.addWidget(widget)
        self._command = CommandProcess(self)
        self._command.answered.connect(self._on_listed)
        self._command.failed.connect(self._on_failed)
        self._command.run(["devices", "--json"])

    def device(self) -> str:
        return str(self._box.currentData())

    def use_service(self, text: str) -> None:
        """Choose a service by its address.

        Its token is kept until napari is closed, also where the address is given again without one.

        Raises
        ------
        MrgenError
            If this is not an address.
        """
        address = Address.parse(text)
        remember.note("service", address.url)
        index = self._box.findText(f"Service at {address.url}")
        if index < 0:
            index = self._box.findData(NEW_SERVICE)
            self._box.insertItem(index, f"Service at {address.url}", text.strip())
        elif "?" in text:
            self._box.setItemData(index, text.strip())
        self._box.setCurrentIndex(index)

    def text(self) -> str:
        """Return what is said about the devices."""
        return f"{self._note.text()} {self._memory.text()}".strip()

    def describe(self) -> str:
        return "; ".join(f"{d['name']} {d['title']}" for d in self._devices)

    def show_plan(self, plan: Plan | None) -> None:
        """Compare the memory that a training needs with what is free."""
        self._needed = plan.memory_bytes if plan else 0
        self._has_advice = bool(plan and plan.advice)
        self._show_memory()

    def _on_listed(self, devices: list[dict[str, Any]]) -> None:
        self._devices = devices
        for place, device in enumerate(devices, 1):
            free = format_size(device["free_bytes"])
            self._box.insertItem(place, f"{device['title']}, {free} free", device["name"])
        self._show_choice()
        self.listed.emit()

    def _on_failed(self, problem: str) -> None:
        self._note.say(f"The devices could not be listed: {problem}", warning=True)
        self.listed.emit()

    def _on_activated(self) -> None:
        if self.device() == NEW_SERVICE:
            self._ask_for_service()
        self.chosen.emit()

    def _ask_for_service(self) -> None:
        """Ask for an address; without a good one the choice is what it was."""
        last_address = remember.recall("service") or ""
        mode = QLineEdit.EchoMode.Normal
        text, is_given = QInputDialog.getText(self, "Use a service", ASK, mode, last_address)
        problem = ""
        try:
            if is_given:
                self.use_service(text)
                return
        except MrgenError as error:
            problem = str(error)
        self._box.setCurrentIndex(max(0, self._box.findData(self._last)))
        if problem:
            self._note.say(problem, warning=True)

    def _show_choice(self) -> None:
        chosen = self.device()
        if chosen != NEW_SERVICE:
            self._last = chosen
        has_gpu = any(device["name"] != "cpu" for device in self._devices)
        if chosen.startswith("http"):
            self._note.say("The service makes the results, with the same model as here.")
        elif self._devices:
            self._note.say("" if has_gpu else self._without_gpu, warning=not has_gpu)
        self._show_memory()

    def _show_memory(self) -> None:
        free = self._free_bytes()
        if not self._needed or free is None:
            self._memory.say("")
            return
        needed = format_size(self._needed)
        text = f"This training needs about {needed} of memory; {format_size(free)} are free."
        if self._needed > free:
            text += " That is too little"
            text += "." if self._has_advice else ": choose a smaller preset or batch size."
        self._memory.say(text, warning=self._needed > free)

    def _free_bytes(self) -> int | None:
        """Free memory of the chosen device; automatic takes the first GPU, else the processor."""
        order = sorted(self._devices, key=lambda device: device["name"] == "cpu")
        name = self.device()
        chosen = [d for d in order if name in ("auto", d["name"])]
        return int(chosen[0]["free_bytes"]) if chosen else None
