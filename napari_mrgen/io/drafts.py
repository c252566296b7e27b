"""Drafts: files that take their name only once they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """Give a name to write to, with the same suffix; it takes the place of ``path`` at the end."""
    draft = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def remove_drafts(folder: Path) -> None:
    """Remove what a killed process left half written in a folder and those below it."""
    for draft in folder.rglob(".*.part.*"):
        draft.unlink(missing_ok=True)
