"""The text of a report of a problem."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from napari_mrgen.app.session import RunState
from napari_mrgen.config import Config

PACKAGES = (
    "napari-mrgen",
    "napari",
    "torch",
    "lightning-fabric",
    "numpy",
    "nibabel",
    "PyQt6",
    "PySide6",
)


def diagnostics(state: RunState, config: Config | None, devices: str) -> str:
    """Return what a report of a problem should hold."""
    where = state.where or "no step yet"
    parts = [
        f"{platform.platform()}, Python {platform.python_version()}",
        ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name))),
        f"Devices: {devices or 'not listed'}",
        f"Run: {state.phase.value}, {where}, on {state.device or 'no device'}",
        f"Run folder: {_without_home(state.run_dir)}",
    ]
    if config is not None:
        parts.append(f"Settings:\n{config.to_yaml()}")
    if state.problem:
        parts.append(f"Problem: {state.problem}\n{state.details}")
    return "\n".join(parts)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _without_home(path: Path | None) -> str:
    """Leave the user's name out of what is posted in public."""
    return str(path or "none").replace(str(Path.home()), "~")
