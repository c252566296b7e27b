"""Whether the fourth axis of a NIfTI file is time: it is, unless something says otherwise."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

from napari_mrgen.io.headers import Header
from napari_mrgen.io.naming import home_of, stem

_UNITS = {32: "frequency (Hz)", 40: "ppm", 48: "radians a second"}
_INTENTS = {
    1004: "matrix elements", 1005: "matrix elements", 1006: "displacements", 1007: "vectors",
    1010: "quaternions", 2003: "colours", 2004: "colours",
}  # fmt: skip
_DIFFUSION, _ECHOES, _OTHERS = "diffusion directions", "echoes", "other contrasts"
_SUFFIXES = {
    "dwi": _DIFFUSION, "megre": _ECHOES, "mese": _ECHOES, "phasediff": "a field map",
    "fieldmap": "a field map", "magnitude": "a field map", "mp2rage": _OTHERS, "vfa": _OTHERS,
    "irt1": _OTHERS, "mpm": _OTHERS, "mts": _OTHERS, "mtr": _OTHERS, "xfm": "a transform",
    "mrsi": "spectra", "svs": "spectra", "probseg": "tissue classes",
}  # fmt: skip
"""Suffixes of BIDS for series that are none in time."""
_WORDS = {
    "dwi": _DIFFUSION, "dti": _DIFFUSION, "hardi": _DIFFUSION, "ivim": _DIFFUSION,
    "tensor": _DIFFUSION, "multiecho": _ECHOES, "megre": _ECHOES, "mese": _ECHOES,
    "cest": "frequency offsets", "mrsi": "spectra", "csi": "spectra", "spectra": "spectra",
    "spectrum": "spectra", "warp": "a transform", "xfm": "a transform", "channels": "channels",
}  # fmt: skip
_SERIES = {"cine", "bold", "asl", "dce", "dsc", "perf", "fmri", "4d"}
_LEVELS = 3


def other_than_time(path: Path, header: Header, count: int) -> str:
    """Say what the fourth axis of a file is, in a sentence; '' where it is time.

    By the unit and the intent in the header, a ``.bval`` beside the file, the suffix of BIDS, a
    ``dataset.json`` of nnU-Net or the Medical Segmentation Decathlon above it, and words in the
    name.
    """
    what = (
        _UNITS.get(header.time_code, "")
        or _INTENTS.get(header.intent, "")
        or _by_files(path, count)
        or ("" if header.time_code else _by_name(path))
    )
    return f"Its fourth axis is not time: it holds {what}." if what else ""


def _by_files(path: Path, count: int) -> str:
    home, name = home_of(path), stem(path)
    tables = (f"{name}.bval", f"{name}.bvals", f"{name}.bvec", "bvals")
    if any((home / table).is_file() for table in tables):
        return f"{_DIFFUSION} (b-values are beside it)"
    for folder in (home, *home.absolute().parents[:_LEVELS]):
        names = _channels(folder / "dataset.json")
        if len(names) == count:
            return f"channels ({', '.join(names)}, by dataset.json)"
    return ""


def _channels(path: Path) -> tuple[str, ...]:
    """Return the names of channels that a ``dataset.json`` gives; none where they are one."""
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except OSError:
        return ()


@functools.lru_cache(maxsize=256)
def _parsed(path: Path, _modified: int) -> tuple[str, ...]:
    try:
        values = json.loads(path.read_bytes())
        names = values.get("modality") or values.get("channel_names") or {}
        listed = names.values() if isinstance(names, dict) else names
        return tuple(map(str, listed)) if len(names) > 1 else ()
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return ()


def _by_name(path: Path) -> str:
    words = re.findall(r"[a-z0-9]+", stem(path).lower())
    if path.name.startswith("sub-") and words:
        return _SUFFIXES.get(words[-1], "")
    if not _SERIES.isdisjoint(words):
        return ""
    return next((_WORDS[word] for word in words if word in _WORDS), "")
