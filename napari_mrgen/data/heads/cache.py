"""Where preprocessed volumes are kept between trainings: a folder for each session.

It is named by a hash of what went into it: paths, sizes and times of the files, and the settings.
So a second training starts at once, and a changed scan is preprocessed again. Volumes are read as
memory maps, a patch at a time, so that a data set may be larger than the memory.
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

from napari_mrgen.data.heads.sessions import AlignmentCheck, Session, contrast_title
from napari_mrgen.data.scaling import Scaling
from napari_mrgen.errors import MrgenError
from napari_mrgen.volume import Volume

_VERSION = 3
"""Of what is written here and how it is computed; with another one everything is computed again."""
_RECORD, _DRAFT = "session.json", ".part-"
_UNUSED_S, _DRAFT_S = 90 * 86400, 86400
"""Sessions unused for so long are removed, and what a killed process left unfinished."""


class CacheError(MrgenError):
    """Nothing can be written: it would fail for every other session too."""


@dataclass(frozen=True)
class PreprocessedSession:
    """The volumes of one head on disk, one or several contrasts, on one grid."""

    name: str
    subject: str
    folder: Path
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    scalings: Mapping[str, Scaling]
    """By contrast; its keys are the contrasts that are there."""
    check: AlignmentCheck
    """How the scans lay before they were preprocessed."""
    note: str = ""

    @property
    def is_paired(self) -> bool:
        """Whether volumes of two contrasts or more lie voxel on voxel."""
        return len(self.scalings) > 1

    def has(self, *contrasts: str) -> bool:
        return all(contrast in self.scalings for contrast in contrasts)

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return a contrast's values 0..1, or the ``"mask"``, ``(z, y, x)``, as a memory map."""
        mapped: npt.NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return mapped

    def volume(self, name: str) -> Volume:
        """Return a contrast's values 0..1, or the ``"mask"``, in their place in the scanner."""
        is_mask = name == "mask"
        return Volume(
            array=np.array(self.array(name)),
            axes="zyx",
            affine=np.array(self.affine),
            kind="labels" if is_mask else "image",
            name=f"{self.name} {'brain mask' if is_mask else contrast_title(name)}",
            subject=self.subject,
        )


def default_cache() -> Path:
    """Return where preprocessed volumes are kept: ``MRGEN_CACHE``, or the user's cache folder."""
    if folder := os.environ.get("MRGEN_CACHE"):
        return Path(folder)
    # The last False leaves out the folder "Cache" that Windows would have below it.
    return user_cache_path("napari-mrgen", False, None, False) / "prepared"


def cache_key(session: Session, settings: str) -> str:
    """Return a hash of what goes into a session; a replaced scan has another size or time."""
    sources: dict[str, list[tuple[str, int, int]]] = {}
    for name, reference in (*session.scans.items(), ("mask", session.mask)):
        for path in (reference.slices or (reference.path,)) if reference else ():
            try:
                status = path.stat()
            except OSError as error:
                raise MrgenError(f"{path} cannot be read: {error.strerror}.") from None
            entry = (str(path.resolve()), status.st_size, status.st_mtime_ns)
            sources.setdefault(name, []).append(entry)
    text = json.dumps([_VERSION, sources, settings])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def load_session(folder: Path, session: Session) -> PreprocessedSession | None:
    """Return a preprocessed session; None where there is none, or not all of it."""
    record = _read_record(folder)
    if record is None:
        return None
    with suppress(OSError):
        os.utime(folder / _RECORD)  # See `remove_unused`; a read-only cache works too.
    return PreprocessedSession(
        name=session.name,
        subject=session.subject,
        folder=folder,
        shape=tuple(record["shape"]),
        affine=tuple(map(tuple, record["affine"])),
        scalings={contrast: Scaling(**values) for contrast, values in record["scalings"].items()},
        check=AlignmentCheck(**record["check"]),
        note=f"{session.note} {record['note']}".strip(),
    )


def save_session(
    folder: Path, arrays: Mapping[str, npt.NDArray[Any]], record: Mapping[str, Any]
) -> None:
    """Write a folder, whole or not at all; where another process was faster, its own stays."""
    draft: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=folder.parent))
        for name, array in arrays.items():
            np.save(draft / f"{name}.npy", array)
        (draft / _RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        if folder.exists() and _read_record(folder) is None:
            shutil.rmtree(folder)
        draft.rename(folder)
    except OSError as error:
        if _read_record(folder) is None:
            msg = (
                f"The preprocessed volumes cannot be written to {folder.parent} "
                f"({error.strerror}); make room there, or set the environment variable "
                "MRGEN_CACHE to another folder."
            )
            raise CacheError(msg) from None
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)


def _read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a folder if all the arrays that it lists are there."""
    try:
        record: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        for name in record["arrays"]:
            array = np.load(folder / f"{name}.npy", mmap_mode="r")
            if list(array.shape) != record["shape"]:
                return None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return record


def remove_unused(cache: Path) -> None:
    """Remove sessions that were not used for three months, those of earlier versions too."""
    now = time.time()
    with suppress(OSError):
        for entry in list(cache.iterdir()):
            if entry.name.startswith(_DRAFT):
                is_old = now - entry.stat().st_mtime > _DRAFT_S
            else:
                # Earlier versions called the record pair.json.
                records = [entry / _RECORD, entry / "pair.json"]
                used = [record.stat().st_mtime for record in records if record.is_file()]
                is_old = bool(used) and now - max(used) > _UNUSED_S
            if is_old:
                shutil.rmtree(entry, ignore_errors=True)
