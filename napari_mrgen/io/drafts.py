"""Drafts: files that take their name only once they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

_DRAFTS = ".*.part.*"


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """Give a name to write to, with the same suffix; it takes the place of ``path`` at the end."""
    draft = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def remove_drafts(folder: Path, parts: Iterable[str]) -> None:
    """Remove what a killed process left half written in a folder, and anywhere in parts of it.

    In others below it, such as another run's, somebody may be writing.
    """
    inside = (folder.joinpath(part).rglob(_DRAFTS) for part in parts)
    for draft in chain(folder.glob(_DRAFTS), *inside):
        draft.unlink(missing_ok=True)
