"""The bar in napari's activity dock: there while something runs, and only then."""

from __future__ import annotations

import pytest
from napari.utils import progress
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject

from napari_mrgen.widgets.activity import RESOLUTION, Activity


@pytest.fixture
def owner() -> QObject:
    return QObject()


@pytest.fixture
def activity(owner: QObject) -> Activity:
    return Activity(owner)


def bars() -> list[progress]:
    return [bar for bar in progress._all_instances if bar.desc.startswith("work")]


def test_a_bar_follows_and_goes(qtbot: QtBot, activity: Activity) -> None:
    activity.show("work", 0.25)
    qtbot.waitUntil(lambda: [bar.n for bar in bars()] == [RESOLUTION / 4])
    activity.show("work goes on", 0.5)
    qtbot.waitUntil(lambda: [bar.n for bar in bars()] == [RESOLUTION / 2])
    assert bars()[0].desc.startswith("work goes on")
    activity.show("work without an end")
    qtbot.waitUntil(lambda: [bar.total for bar in bars()] == [0])
    activity.close()
    assert not bars()


def test_what_is_closed_at_once_never_shows(qtbot: QtBot, activity: Activity) -> None:
    activity.show("work")
    activity.close()
    qtbot.wait(400)
    assert not bars()


def test_a_close_that_comes_while_the_bar_is_drawn(qtbot: QtBot, activity: Activity) -> None:
    activity.show("work", 0.5)
    qtbot.waitUntil(lambda: bool(bars()))
    bars()[0].events.description.connect(lambda: activity.close())
    activity.show("work changes", 0.75)
    qtbot.waitUntil(lambda: not bars())
