"""Libraries that only some installations have: imported where they are needed, or asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from napari_mrgen.errors import MrgenError


def need(module: str, extra: str, what: str) -> ModuleType:
    """Import a module of an optional extra; say how to get it where it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        msg = f"{what} needs {error.name}; install it with: pip install 'napari-mrgen[{extra}]'"
        raise MrgenError(msg) from None


def export_model(model: Path, out: Path) -> Iterator[object]:
    """Write a model for use elsewhere, as jobs want it; what that needs is imported here only."""
    from napari_mrgen.service.export import export

    return export(model, out, overwrite=True)
