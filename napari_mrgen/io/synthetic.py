"""Whether a model generated an image, and from whom: by its header, or by the JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.facts import facts_in, sidecar_of
from napari_mrgen.io.formats import NIFTI, format_of
from napari_mrgen.io.headers import read_header

_WORD = b"synthetic"
_DESCRIPTIONS = (slice(148, 228), slice(240, 320))
"""Where the description stands in a header of NIfTI-1 and NIfTI-2."""
_FOLDER_SIDECARS = ("samples.json", "scans.json")
"""What stands in a folder of results for all of them."""
_MOST_BYTES = 16 << 20


def is_synthetic(path: Path) -> bool:
    """Whether a file says that a model generated its image.

    By the header of a NIfTI file, the text of a PNG file, or JSON beside it.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from napari_mrgen.io import nifti
    >>> from napari_mrgen.volume import Volume
    >>> made = Volume(np.ones((2, 3, 4)), "zyx", np.eye(4), provenance={"family": "dcgan"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nifti.write(made, Path(folder, "a.nii.gz"))
    ...     is_synthetic(Path(folder, "a.nii.gz"))
    True
    """
    return _says_so(_record(path)) or _header_says_so(path)


def sources_of(path: Path) -> tuple[tuple[str, str], ...]:
    """Return the subject and the file name of each scan that an image was generated from.

    Either is '' where it is not known.
    """
    sources = _record(path).get("source")
    entries = sources.values() if isinstance(sources, Mapping) else ()
    return tuple(
        (str(one.get("subject") or ""), Path(str(one.get("path") or "")).name)
        for one in entries
        if isinstance(one, Mapping)
    )


def _record(path: Path) -> Mapping[str, Any]:
    """Return the provenance in the header or in the JSON beside it; {} where there is none."""
    if format_of(path) is NIFTI:
        try:
            facts = facts_in(read_header(path).extensions)
        except MrgenError:
            facts = None
        if facts is not None and facts.provenance:
            return {"synthetic": True, **facts.provenance}
    names = (sidecar_of(path).name, f"{path.name}.json", f"{path.stem}.json", *_FOLDER_SIDECARS)
    records = (_json(path.with_name(name)) for name in dict.fromkeys(names))
    return next((record for record in records if _says_so(record)), {})


def _says_so(record: Mapping[str, Any]) -> bool:
    return any(record.get(key) is True for key in ("synthetic", "Synthetic", "SyntheticData"))


def _json(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return {}
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _header_says_so(path: Path) -> bool:
    if format_of(path) is NIFTI:
        try:
            raw = read_header(path).raw
        except MrgenError:
            return False
        return any(_WORD in raw[place].lower() for place in _DESCRIPTIONS)
    if path.suffix.lower() != ".png":
        return False
    with path.open("rb") as file:
        head = file.read(4096).lower()
    return _WORD in head[: head.find(b"idat")]
