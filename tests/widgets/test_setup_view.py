"""One press makes a training fit."""

from __future__ import annotations

import pytest
from napari.components import LayerList
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_mrgen.engine.family import Advice, Plan
from napari_mrgen.widgets.setup_view import SetupView

pytestmark = pytest.mark.window

PLAN = Plan(
    shape=(8, 8),
    parameters=1,
    flops_per_step=1,
    memory_bytes=1 << 50,
    advice=(
        Advice("bfloat16", {}, "bf16-mixed", 3_000_000_000),
        Advice("a batch of 1", {"batch_size": 1}, "32-true", 2_000_000_000),
    ),
)


@pytest.fixture
def setup(qtbot: QtBot) -> SetupView:
    made = SetupView(LayerList())
    qtbot.addWidget(made)
    made.choose_family("frame_prediction")
    made.choose_preset("tiny")
    with qtbot.waitSignal(made.device.listed, timeout=120_000):
        pass
    made.show_plan(PLAN)
    return made


def press(setup: SetupView, qtbot: QtBot, number: int) -> None:
    button = setup.findChild(QPushButton, f"advice_{number}")
    with qtbot.waitSignal(setup.changed):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_each_advice_says_what_it_needs(setup: SetupView) -> None:
    texts = [setup.findChild(QPushButton, f"advice_{n}").text() for n in range(2)]
    assert texts == ["Bfloat16: 2.79 GiB", "A batch of 1: 1.86 GiB"]
    assert "That is too little." in setup.device.text()


def test_a_setting_is_set_and_automatic_stays(setup: SetupView, qtbot: QtBot) -> None:
    press(setup, qtbot, 1)
    assert setup.form.config().batch_size == 1
    assert setup.memory.precision() == "auto"


def test_a_precision_is_chosen(setup: SetupView, qtbot: QtBot) -> None:
    before = setup.form.config()
    press(setup, qtbot, 0)
    assert setup.memory.precision() == "bf16-mixed"
    assert setup.form.config() == before


def test_what_fits_needs_none(setup: SetupView) -> None:
    setup.show_plan(Plan((8, 8), 1, 1, 1000))
    assert not setup.memory.findChild(QPushButton, "advice_0") or not setup.memory._buttons.count()
