"""Where results go: checked before the work, named clearly after it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from napari_mrgen.engine.run.folder import holds_run, is_taken
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.facts import sidecar_of
from napari_mrgen.io.movies import write_movie
from napari_mrgen.io.nifti import write as write_nifti
from napari_mrgen.volume import Volume

NIFTI = (".nii.gz", ".nii")
MOVIES = (".gif", ".mp4", ".png")


def save(volume: Volume, path: Path, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Write in the format of the extension; return the files, several for PNG.

    ``overwrite`` allows to replace a JSON file beside it that somebody else wrote.
    """
    if extension(path) in NIFTI:
        write_nifti(volume, path, overwrite=overwrite)
        return (path,)
    return write_movie(volume, path, overwrite=overwrite)


def extension(path: Path) -> str:
    """Return the known extension of a file to write."""
    suffixes = (*NIFTI, *MOVIES)
    for suffix in suffixes:
        if path.name.lower().endswith(suffix):
            return suffix
    msg = f"Cannot write {path.name!r}: the name must end in one of {', '.join(suffixes)}."
    raise MrgenError(msg)


def is_folder(path: Path) -> bool:
    """Whether results go into a folder: it is one, or its name has no extension."""
    return path.is_dir() or not path.suffix


def slug(name: str) -> str:
    """Return a result's name as a part of file names."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "result"


@dataclass
class Outputs:
    """File names for results that come one by one.

    The first result gets the path that was asked for; the others get theirs with the result's name
    appended: ``heart.nii.gz``, ``heart-spread.nii.gz``.
    """

    path: Path
    overwrite: bool = False
    _used: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        extension(self.path)
        check_free(self.path, overwrite=self.overwrite)
        for other in () if self.overwrite else _beside(self.path):
            check_free(other, overwrite=False)

    def save(self, volume: Volume) -> tuple[Path, ...]:
        path = self._next(volume.name) if self._used else self.path
        written = save(volume, path, overwrite=self.overwrite)
        self._used[path.name] += 1
        return written

    def _next(self, name: str) -> Path:
        suffix = extension(self.path)
        word = slug(name)
        stem = f"{self.path.name.removesuffix(suffix)}-{word}"
        while True:
            self._used[word] += 1
            number = f"-{self._used[word]}" if self._used[word] > 1 else ""
            path = self.path.with_name(f"{stem}{number}{suffix}")
            if self.overwrite or not any(one.exists() for one in (path, *_beside(path))):
                return path


def _beside(path: Path) -> Iterator[Path]:
    """Yield what a result writes or may write beside its file: a sidecar, numbered pictures."""
    yield sidecar_of(path)
    if extension(path) == ".png":
        number = re.compile(re.escape(path.stem) + r"_\d{3,}\.png")
        siblings = path.parent.iterdir() if path.parent.is_dir() else ()
        yield from (other for other in siblings if number.fullmatch(other.name))


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a path that cannot or must not be written, before hours are spent on its content."""
    folder = path.parent
    if path.is_dir():
        msg = f"{path} is a folder; give the name of a file to write."
        raise MrgenError(msg)
    if not folder.is_dir():
        msg = f"The folder {folder} does not exist; make it or choose another."
        raise MrgenError(msg)
    if not os.access(folder, os.W_OK):
        msg = f"The folder {folder} cannot be written to; choose another."
        raise MrgenError(msg)
    if path.exists() and not overwrite:
        msg = f"{path} exists already; choose another name or allow to overwrite it."
        raise MrgenError(msg)


def check_new_run(folder: Path) -> None:
    """Refuse a folder that holds a run, or that cannot be made."""
    if is_taken(folder):
        msg = f"{folder} holds a run already; resume it, or choose another folder."
        raise MrgenError(msg)
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to."""
    nearest = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        what = "cannot be written to" if nearest.is_dir() else "is a file"
        msg = f"{folder} cannot be used: {nearest} {what}; choose another folder."
        raise MrgenError(msg)


def check_run(folder: Path) -> None:
    """Refuse a folder that does not hold a run."""
    if not holds_run(folder):
        what = "has no run in it" if folder.is_dir() else "does not exist"
        msg = f"{folder} {what}; expected a run folder as `train --out` makes it."
        raise MrgenError(msg)
