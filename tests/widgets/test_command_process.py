"""Commands that run in a process of their own."""

from __future__ import annotations

from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject

from napari_mrgen.widgets.device_picker import DevicePicker
from napari_mrgen.widgets.planner import CommandProcess

PATIENCE_MS = 60_000


def test_devices_are_listed_with_their_memory(qtbot: QtBot) -> None:
    picker = DevicePicker()
    qtbot.addWidget(picker)
    assert picker.device() == "auto"
    qtbot.waitSignal(picker.listed, timeout=PATIENCE_MS).wait()
    assert "cpu" in picker.describe()
    assert "Looking" not in picker.text()


def test_a_mistake_comes_back_as_its_sentence(qtbot: QtBot) -> None:
    owner = QObject()
    process = CommandProcess(owner)
    with qtbot.waitSignal(process.failed, timeout=PATIENCE_MS) as caught:
        process.run(["train", "no_such_family", "--plan", "--json"])
    (sentence,) = caught.args
    assert "no_such_family" in sentence
    assert not sentence.startswith("napari-mrgen:")


def test_a_new_command_replaces_the_old_one(qtbot: QtBot) -> None:
    owner = QObject()
    process = CommandProcess(owner)
    answers: list[object] = []
    process.answered.connect(answers.append)
    process.failed.connect(answers.append)
    process.run(["train", "no_such_family", "--plan", "--json"])
    process.run(["families", "--json"])
    qtbot.waitUntil(lambda: bool(answers), timeout=PATIENCE_MS)
    qtbot.wait(200)
    assert len(answers) == 1
    assert "no_such_family" not in str(answers)
