"""The model families: found by folder or entry point, imported only when asked for."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import EntryPoint, entry_points

from napari_mrgen.engine.family import Family
from napari_mrgen.errors import unknown

GROUP = "napari_mrgen.families"
"""Entry points of this group are families of other packages: ``name = "package:FAMILY"``."""


def names() -> tuple[str, ...]:
    """Return the names of all families, without importing one.

    Examples
    --------
    >>> "reconstruction" in names()
    True
    """
    return tuple(sorted({*_folders(), *_elsewhere()}))


def get(name: str) -> Family:
    """Return the family of that name.

    Examples
    --------
    >>> get("vqvae").preset("tiny").size
    32
    """
    family: Family
    if name in _folders():
        family = importlib.import_module(f"{__name__}.{name}").FAMILY
    elif (entry := _elsewhere().get(name)) is not None:
        family = entry.load()
    else:
        raise unknown("model family", name, names())
    return family


def _folders() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(__path__) if module.ispkg}


def _elsewhere() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
