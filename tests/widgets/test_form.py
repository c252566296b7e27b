"""Config to form to Config is the identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_mrgen import families
from napari_mrgen.config import Config, setting
from napari_mrgen.engine.family import GenerateConfig, TrainConfig
from napari_mrgen.errors import MrgenError
from napari_mrgen.widgets.editors import NumberBox
from napari_mrgen.widgets.form import Form


class Every(Config):
    """One field of every type that a Config may have."""

    flag: bool = setting(True)
    """A tick."""
    count: int = setting(3, ge=1, le=10, unit="frames")
    """A whole number."""
    large: int = setting(2**40)
    rate: float = setting(1e-4, gt=0, title="Learning rate")
    share: float = setting(0.25, gt=0, lt=1)
    kind: Literal["a", "b"] = setting("b")
    number: Literal[8, 16] = setting(16)
    path: Path = setting(Path("here"))
    size: tuple[int, int] = setting((8, 16))
    maybe_count: int | None = setting(None, ge=0)
    maybe_rate: float | None = setting(None, level="advanced")
    maybe_kind: Literal["a", "b"] | None = setting(None, level="advanced")
    maybe_path: Path | None = setting(None, level="advanced")
    maybe_size: tuple[int, float] | None = setting(None, level="advanced")
    maybe_flag: bool | None = setting(None, level="advanced")


def _values() -> st.SearchStrategy[dict[str, Any]]:
    positive = st.floats(0, 1e300, exclude_min=True)
    return st.fixed_dictionaries(
        {
            "flag": st.booleans(),
            "count": st.integers(1, 10),
            "large": st.integers(-(2**70), 2**70),
            "rate": positive,
            "share": st.floats(0, 1, exclude_min=True, exclude_max=True),
            "kind": st.sampled_from("ab"),
            "number": st.sampled_from([8, 16]),
            "path": st.sampled_from([Path("a b"), Path("/x/é.nii.gz"), Path()]),
            "size": st.tuples(st.integers(), st.integers()),
            "maybe_count": st.none() | st.integers(0),
            "maybe_rate": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "maybe_kind": st.none() | st.sampled_from("ab"),
            "maybe_path": st.none() | st.just(Path("b")),
            "maybe_size": st.none() | st.tuples(st.integers(), positive),
            "maybe_flag": st.none() | st.booleans(),
        }
    )


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=_values())
def test_a_form_gives_its_config_back(qtbot: QtBot, values: dict[str, Any]) -> None:
    config = Every(**values)
    form = Form(Every())
    qtbot.addWidget(form)
    form.set_config(config)
    assert form.config() == config
    rebuilt = Form(config)
    qtbot.addWidget(rebuilt)
    assert rebuilt.config() == config


@pytest.mark.parametrize("config", [Every(), TrainConfig(), GenerateConfig()], ids=repr)
def test_defaults_survive(qtbot: QtBot, config: Config) -> None:
    form = Form(config)
    qtbot.addWidget(form)
    assert form.config() == config


@pytest.mark.parametrize("name", families.names())
def test_every_preset_of_every_family_survives(qtbot: QtBot, name: str) -> None:
    family = families.get(name)
    presets = (preset.config for preset in family.presets.values())
    for config in (*presets, family.generate_config()):
        form: Form[Config] = Form(config)
        qtbot.addWidget(form)
        assert form.config() == config


def _type(qtbot: QtBot, form: Form[Any], name: str, text: str) -> None:
    box = form.editor(name).findChild(NumberBox)
    box.selectAll()
    qtbot.keyClicks(box, text)


def test_what_is_typed_is_what_is_read(qtbot: QtBot) -> None:
    form = Form(Every())
    qtbot.addWidget(form)
    with qtbot.waitSignal(form.changed):
        _type(qtbot, form, "rate", "3e-7")
    assert form.config().rate == 3e-7


def test_a_value_out_of_range_is_not_taken(qtbot: QtBot) -> None:
    form = Form(Every())
    qtbot.addWidget(form)
    form.show()
    _type(qtbot, form, "count", "99")
    qtbot.keyClick(form.editor("count").findChild(NumberBox), Qt.Key.Key_Return)
    assert form.config().count == 9  # the last allowed value on the way to 99
    assert form.editor("count").findChild(NumberBox).text() == "9"


@pytest.mark.parametrize(
    ("start", "steps", "end"),
    [(1e-4, 1, 2e-4), (1e-4, -1, 9e-5), (9e-4, 1, 1e-3), (0.25, 2, 0.45), (5.0, -1, 4.0)],
)
def test_a_step_is_one_in_the_leading_digit(
    qtbot: QtBot, start: float, steps: int, end: float
) -> None:
    form = Form(Every(rate=start))
    qtbot.addWidget(form)
    form.editor("rate").findChild(NumberBox).stepBy(steps)
    assert form.config().rate == pytest.approx(end, rel=1e-9)


def test_steps_stay_inside_the_limits(qtbot: QtBot) -> None:
    form = Form(Every(share=0.9, count=10))
    qtbot.addWidget(form)
    form.editor("share").findChild(NumberBox).stepBy(5)
    form.editor("count").findChild(NumberBox).stepBy(1)
    assert (form.config().share, form.config().count) == (0.9, 10)


def test_settings_that_do_not_go_together_are_named(qtbot: QtBot) -> None:
    form = Form(Every())
    qtbot.addWidget(form)
    form.editor("size").set_value((1, 2))
    form.editor("maybe_count").set_value(-1)
    with pytest.raises(MrgenError, match="maybe_count"):
        form.config()


def test_the_wheel_scrolls_past_values(qtbot: QtBot) -> None:
    from qtpy.QtCore import QPoint, QPointF
    from qtpy.QtGui import QWheelEvent
    from qtpy.QtWidgets import QApplication

    form = Form(Every())
    qtbot.addWidget(form)
    box = form.editor("count").findChild(NumberBox)
    modifiers, buttons = Qt.KeyboardModifier.NoModifier, Qt.MouseButton.NoButton
    event = QWheelEvent(
        QPointF(5, 5), QPointF(5, 5), QPoint(0, 0), QPoint(0, 120), buttons, modifiers,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(box, event)
    assert form.config() == Every()
