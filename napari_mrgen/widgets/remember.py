"""Remember: the last settings and choices, kept as readable files in the user's config folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from qtpy.QtCore import QStandardPaths

from napari_mrgen.config import Config
from napari_mrgen.errors import MrgenError

C = TypeVar("C", bound=Config)


def folder() -> Path:
    location = QStandardPaths.StandardLocation.GenericConfigLocation
    return Path(QStandardPaths.writableLocation(location)) / "napari-mrgen"


def save_settings(name: str, config: Config) -> None:
    _write(f"{name}.yaml", config.to_yaml())


def load_settings(name: str, config_type: type[C]) -> C | None:
    """Return the settings last used; None if there are none, or none that are still valid."""
    try:
        return config_type.from_yaml((folder() / f"{name}.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeError, MrgenError):
        return None


def note(key: str, value: str) -> None:
    _write("choices.json", json.dumps({**_choices(), key: value}, indent=1))


def recall(key: str) -> str | None:
    return _choices().get(key)


def _choices() -> dict[str, str]:
    try:
        choices = json.loads((folder() / "choices.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return choices if isinstance(choices, dict) else {}


def _write(name: str, text: str) -> None:
    """Write where possible; a home that cannot be written to only forgets."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        (folder() / name).write_text(text, encoding="utf-8")
    except OSError:
        return
