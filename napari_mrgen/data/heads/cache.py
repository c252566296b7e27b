"""Where prepared volumes are kept between trainings: a folder for each pair.

It is named by a hash of what made it: paths, sizes and times of the files, and the settings. So a
second training starts at once, and a changed scan is made anew. Volumes are read as memory maps, a
patch at a time, so that a set may be larger than the memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_path

from napari_mrgen.data.heads.sessions import Pair, PairCheck
from napari_mrgen.data.scaling import Scaling
from napari_mrgen.errors import MrgenError
from napari_mrgen.volume import Volume

_VERSION = 2
"""Of what is written here and how it is made; another one makes everything anew."""
_RECORD, _DRAFT = "pair.json", ".part-"
_KEPT_S, _DRAFT_S = 90 * 86400, 86400
"""Pairs that were not used for so long are removed, and what a killed process left half written."""


class ShelfError(MrgenError):
    """Nothing can be written: no other pair will fare better."""


@dataclass(frozen=True)
class PreparedPair:
    """The volumes of one head on disk, one or two contrasts, on one grid."""

    name: str
    subject: str
    folder: Path
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    scalings: Mapping[str, Scaling]
    """By domain; its keys are the domains that are there."""
    check: PairCheck
    """How the scans lay before they were made ready."""
    note: str = ""

    @property
    def is_paired(self) -> bool:
        return len(self.scalings) == 2

    def has(self, domain: str) -> bool:
        return domain in self.scalings

    def array(self, domain: str) -> npt.NDArray[Any]:
        """Return a domain's values 0..1, or ``"mask"``, ``(z, y, x)``, as a memory map."""
        mapped: npt.NDArray[Any] = np.load(self.folder / f"{domain}.npy", mmap_mode="r")
        return mapped

    def volume(self, domain: str) -> Volume:
        """Return a domain's values 0..1, or the mask, in their place in the scanner."""
        is_mask = domain == "mask"
        return Volume(
            array=np.array(self.array(domain)),
            axes="zyx",
            affine=np.array(self.affine),
            kind="labels" if is_mask else "image",
            name=f"{self.name} {'brain mask' if is_mask else domain.upper() + 'w'}",
            subject=self.subject,
        )


def default_cache() -> Path:
    """Return where prepared volumes are kept: ``MRGEN_CACHE``, or the user's cache folder."""
    if given := os.environ.get("MRGEN_CACHE"):
        return Path(given)
    return user_cache_path("napari-mrgen", appauthor=False, opinion=False) / "prepared"


def key_of(pair: Pair, settings: str) -> str:
    """Name what makes a prepared pair; a scan that was replaced has another size or time."""
    sources = [
        [_stat(path) for path in reference.slices or (reference.path,)] if reference else None
        for reference in (pair.t1, pair.t2, pair.mask)
    ]
    text = json.dumps([_VERSION, sources, settings])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _stat(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise MrgenError(f"{path} cannot be read: {error.strerror}.") from None
    return str(path.resolve()), found.st_size, found.st_mtime_ns


def load(folder: Path, pair: Pair) -> PreparedPair | None:
    """Return a prepared pair; None where there is none, or not all of it."""
    record = _read_whole(folder)
    if record is None:
        return None
    with suppress(OSError):
        os.utime(folder / _RECORD)  # See `tidy`; a cache that is only read works too.
    return PreparedPair(
        name=pair.name or pair.subject,
        subject=pair.subject,
        folder=folder,
        shape=tuple(record["shape"]),
        affine=tuple(map(tuple, record["affine"])),
        scalings={domain: Scaling(**values) for domain, values in record["scalings"].items()},
        check=PairCheck(**record["check"]),
        note=f"{pair.note} {record['note']}".strip(),
    )


def save(folder: Path, arrays: Mapping[str, npt.NDArray[Any]], record: Mapping[str, Any]) -> None:
    """Write a folder, whole or not at all; where another process was faster, its own is kept."""
    draft: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=folder.parent))
        for name, array in arrays.items():
            np.save(draft / f"{name}.npy", array)
        (draft / _RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        if folder.exists() and _read_whole(folder) is None:
            shutil.rmtree(folder)
        draft.rename(folder)
    except OSError as error:
        if _read_whole(folder) is None:
            raise ShelfError(_cannot_write(folder.parent, error)) from None
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)


def _read_whole(folder: Path) -> dict[str, Any] | None:
    """Return the record of a folder if all that it speaks of is there."""
    try:
        record: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        for name in record["arrays"]:
            array = np.load(folder / f"{name}.npy", mmap_mode="r")
            if list(array.shape) != record["shape"]:
                return None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return record


def _cannot_write(cache: Path, error: OSError) -> str:
    return (
        f"The prepared volumes cannot be written to {cache} ({error.strerror}); make room "
        "there, or set the environment variable MRGEN_CACHE to another folder."
    )


def tidy(cache: Path) -> None:
    """Remove pairs that were not used for three months."""
    now = time.time()
    with suppress(OSError):
        for entry in list(cache.iterdir()):
            record = entry / _RECORD
            if entry.name.startswith(_DRAFT):
                is_old = now - entry.stat().st_mtime > _DRAFT_S
            else:
                is_old = record.is_file() and now - record.stat().st_mtime > _KEPT_S
            if is_old:
                shutil.rmtree(entry, ignore_errors=True)
