"""A service as device: chosen by its address, remembered without its token."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QInputDialog

from napari_mrgen.errors import MrgenError
from napari_mrgen.widgets import remember
from napari_mrgen.widgets.device_picker import NEW_SERVICE, DevicePicker

ADDRESS = "http://127.0.0.1:8501/?token=secret"


@pytest.fixture
def picker(qtbot: QtBot) -> DevicePicker:
    made = DevicePicker(with_service=True)
    qtbot.addWidget(made)
    return made


def answer(monkeypatch: pytest.MonkeyPatch, text: str, is_given: bool) -> None:
    monkeypatch.setattr(QInputDialog, "getText", lambda *_args: (text, is_given))


def ask(picker: DevicePicker) -> None:
    """Choose the last entry, as a user would."""
    picker._box.setCurrentIndex(picker._box.findData(NEW_SERVICE))
    picker._box.activated.emit(picker._box.currentIndex())


def test_a_service_is_chosen_and_its_token_is_nowhere(
    picker: DevicePicker, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, f" {ADDRESS} ", True)
    ask(picker)
    assert picker.device() == ADDRESS
    assert remember.recall("service") == "http://127.0.0.1:8501"
    shown = picker._box.currentText() + picker.text() + picker.describe()
    assert "secret" not in shown
    assert "service makes the results" in shown


def test_without_an_address_the_choice_stays(
    picker: DevicePicker, monkeypatch: pytest.MonkeyPatch
) -> None:
    picker.use_service(ADDRESS)
    answer(monkeypatch, "", False)
    ask(picker)
    assert picker.device() == ADDRESS
    answer(monkeypatch, "workstation", True)
    ask(picker)
    assert picker.device() == ADDRESS
    assert "Expected the address" in picker.text()
    with pytest.raises(MrgenError):
        picker.use_service("ftp://workstation")


def test_one_service_is_one_entry(picker: DevicePicker) -> None:
    count = picker._box.count()
    picker.use_service(ADDRESS)
    picker.use_service("http://127.0.0.1:8501/?token=new")
    assert picker._box.count() == count + 1
    assert picker.device().endswith("token=new")
    picker.use_service("http://127.0.0.1:8501")  # As it is proposed the next time.
    assert picker.device().endswith("token=new")


def test_a_training_has_no_service(qtbot: QtBot) -> None:
    picker = DevicePicker()
    qtbot.addWidget(picker)
    assert picker._box.findData(NEW_SERVICE) < 0
