"""The model families: one folder each, found by walking, imported only when asked for."""

from __future__ import annotations

import importlib
import pkgutil

from napari_mrgen.engine.family import Family
from napari_mrgen.errors import unknown


def names() -> tuple[str, ...]:
    """Names of all families, without importing one."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.ispkg))


def get(name: str) -> Family:
    """Return the family of that name."""
    if name not in names():
        raise unknown("model family", name, names())
    family: Family = importlib.import_module(f"{__name__}.{name}").FAMILY
    return family
