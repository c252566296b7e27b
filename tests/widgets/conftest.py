"""A virtual display where there is no real one, and a napari window with this plugin in it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from npe2 import PluginManager
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QApplication, QPushButton, QWidget


@pytest.fixture(scope="session", autouse=True)
def display() -> Iterator[None]:
    """Start Xvfb before Qt, unless there is a display already."""
    if os.environ.get("DISPLAY") or sys.platform != "linux":
        yield
        return
    if shutil.which("Xvfb") is None:
        pytest.skip("no display, and no Xvfb to make one (on Debian: apt-get install xvfb)")
    read, write = os.pipe()
    os.set_inheritable(write, True)
    arguments = ["-terminate", "-screen", "0", "1366x768x24", "-nolisten", "tcp"]
    server = os.posix_spawnp(
        "Xvfb",
        ["Xvfb", *arguments, "-displayfd", str(write)],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)],
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        os.environ["DISPLAY"] = f":{pipe.readline().strip()}"
    yield
    # With a client it ends by itself: Qt would not survive to lose its screen while it closes.
    if QApplication.instance() is None:
        os.kill(server, signal.SIGTERM)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a config folder of its own, so that nothing is remembered."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def window(make_napari_viewer: Callable[..., Any], npe2pm: PluginManager) -> Iterator[Any]:
    """Open a real napari window of the size of a small laptop's screen, with this plugin alone."""
    with npe2pm.tmp_plugin(package="napari-mrgen"):  # type: ignore[attr-defined]
        viewer = make_napari_viewer(show=True)
        viewer.window.resize(1366, 768)
        yield viewer


@pytest.fixture
def click(qtbot: QtBot) -> Callable[[QWidget, str], None]:
    """Click on the button of that name, as a user would: it must be there, shown and enabled."""
    from qtpy.QtCore import Qt

    def press(parent: QWidget, name: str) -> None:
        button = parent.findChild(QPushButton, name)
        assert button is not None, name
        assert button.isVisible(), name
        assert button.isEnabled(), name
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    return press
