"""What a file's format has no field for, as JSON: in a header, and beside a generated image.

In NIfTI it is an extension of the header that other programs skip: a comment (code 6: plain ASCII
text), so any program may show it. It begins with the name of this program; comments and extensions
of others are not touched. The JSON beside a generated image, its sidecar, says how it was made; one
that somebody else wrote, such as a scan has in BIDS, is not touched either.
"""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.files import saving
from napari_mrgen.io.naming import stem
from napari_mrgen.volume import AXES, CardiacCycle, Participant, Volume

NOTICE = "Made by a generative model: not a measurement, not for diagnosis."

Row = tuple[float, float, float, float]
Extension = tuple[int, bytes]
"""Code and content."""

_COMMENT = 6
_KEY = "napari-mrgen"
_BEGIN = f'{{"{_KEY}":'.encode()
_VERSION = 1
_LONGEST = 16 << 20
"""A longer extension is not taken for one of this program: a table of 100,000 samples has less."""
_MULTIPLE = 16
_NIFTI = (".nii.gz", ".nii")


class Facts(BaseModel):
    """What is known of a volume beside its values and its place in the scanner.

    `Facts.of` and `apply` are a pair: a volume of the same array and affine is complete again.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    subject: str | None = None
    participant: Participant = Participant()
    cardiac_cycle: CardiacCycle | None = None
    labelled_frames: tuple[int, ...] = ()
    samples: dict[str, list[Any]] | None = None
    cases: tuple[str, ...] = ()
    window: tuple[float, float] | None = None
    times: tuple[float, ...] | None = None
    provenance: dict[str, Any] | None = None

    @classmethod
    def of(cls, volume: Volume, **more: Any) -> Self:
        values = {name: getattr(volume, name) for name in Facts.model_fields}
        # What is not a JSON value becomes one here, so that a written and a read one are equal.
        return cls.parse(json.dumps({**values, **more}, default=_plain))

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read JSON from elsewhere; raise `MrgenError` where that is invalid."""
        try:
            # Not by pydantic's own parser: it refuses names of files that are not UTF-8.
            return cls.model_validate(json.loads(text))
        except (ValidationError, TypeError, ValueError, RecursionError) as error:
            problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise MrgenError(f"The facts of a volume cannot be used: {problem}.") from None

    def to_json(self) -> str:
        """Return ASCII, with what differs from the defaults."""
        return json.dumps(self.model_dump(exclude_defaults=True))

    def apply(self, volume: Volume) -> Volume:
        """Return the volume with all that is known of it."""
        return replace(volume, **{name: getattr(self, name) for name in Facts.model_fields})


class Grid(BaseModel):
    """How a file holds the array of a volume, exactly: a header rounds, and lays axes otherwise."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    axes: str
    shape: tuple[int, ...]
    dtype: str
    affine: tuple[Row, Row, Row, Row]
    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @field_validator("dtype")
    @classmethod
    def _check_dtype(cls, dtype: str) -> str:
        if np.dtype(dtype).kind not in "biuf":
            raise ValueError(f"dtype {dtype!r} is not a type of number")
        return dtype

    @model_validator(mode="after")
    def _check(self) -> Grid:
        if self.axes not in AXES or len(self.axes) != len(self.shape):
            raise ValueError(f"axes {self.axes!r} do not fit the shape {self.shape}")
        if sorted(self.order) != [0, 1, 2]:
            raise ValueError(f"order must be 0, 1 and 2 in some order, got {self.order}")
        affine = np.array(self.affine)
        if not (np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 0):
            raise ValueError("the affine gives voxels no size")
        return self


class StoredFacts(Facts):
    """The facts that a NIfTI file holds."""

    grid: Grid | None = None


def facts_in(extensions: Sequence[Extension]) -> StoredFacts | None:
    """Return the facts among the extensions of a header; None where there are none.

    Raise `MrgenError` where they are damaged.
    """
    texts = [content for code, content in extensions if _is_ours(code, content)]
    if not texts:
        return None
    if len(texts[0]) > _LONGEST:
        raise MrgenError("The facts of a volume cannot be used: they are too long.")
    return StoredFacts.parse(texts[0].rstrip(b"\0 \n"))


def extension_of(facts: StoredFacts) -> Extension:
    values = {_KEY: _VERSION, **facts.model_dump(exclude_defaults=True)}
    return _COMMENT, json.dumps(values, separators=(",", ":")).encode("ascii")


def foreign(extensions: Sequence[Extension]) -> list[Extension]:
    """Return the extensions that other programs wrote."""
    return [(code, content) for code, content in extensions if not _is_ours(code, content)]


def read_extensions(raw: bytes, start: int, endianness: str) -> Iterator[Extension]:
    """Yield the extensions in a header's bytes from ``start``, the place of the flag, on.

    They end where one gives a length that cannot be.
    """
    if raw[start : start + 1] in (b"", b"\0"):
        return
    place = start + 4
    while place + 8 <= len(raw):
        size, code = struct.unpack_from(endianness + "ii", raw, place)
        if size < _MULTIPLE or place + size > len(raw):
            return
        yield code, raw[place + 8 : place + size]
        place += size


def write_extensions(extensions: Sequence[Extension]) -> bytes:
    """Return the flag and the extensions, each filled up to a multiple of 16 bytes."""
    parts = [bytes((bool(extensions), 0, 0, 0))]
    for code, content in extensions:
        size = -(-(len(content) + 8) // _MULTIPLE) * _MULTIPLE
        parts.append(struct.pack("=ii", size, code) + content.ljust(size - 8, b"\0"))
    return b"".join(parts)


def sidecar_of(path: Path) -> Path:
    """Return where the sidecar of an image belongs: ``a.json`` of NIfTI, else ``a.gif.json``."""
    is_nifti = path.name.lower().endswith(_NIFTI)
    return path.with_name(f"{stem(path) if is_nifti else path.name}.json")


def write_sidecar(
    path: Path, provenance: Mapping[str, Any] | None, *, overwrite: bool = False
) -> None:
    """Write how an image was made beside it; for one that no model made, remove what is not true.

    Somebody else's JSON is replaced with ``overwrite`` only. Without it the provenance stands under
    the full name of the image, ``a.nii.gz.json``, and a warning says so.

    Raises
    ------
    MrgenError
        If that is somebody else's too.
    """
    usual, other = sidecar_of(path), path.with_name(f"{path.name}.json")
    if not provenance:
        for sidecar in {usual, other}:
            if sidecar.exists() and _may_replace(sidecar, path):
                sidecar.unlink()
        return
    if overwrite or _may_replace(usual, path):
        chosen = usual
    elif _may_replace(other, path):
        chosen = other
        warnings.warn(
            f"{usual.name} is of another image or program and was left as it is; how {path.name} "
            f"was made is in {other.name}.",
            stacklevel=3,
        )
    else:
        msg = f"{other} exists already; choose another name or allow to overwrite it."
        raise MrgenError(msg)
    record = {"synthetic": True, "notice": NOTICE, **provenance}
    with saving(chosen) as draft:
        draft.write_text(json.dumps(record, indent=2, default=str) + "\n", "utf-8")


def is_own_record(path: Path) -> bool:
    """Whether a JSON file is a record that this program wrote of what a model made."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("notice") == NOTICE


def _may_replace(sidecar: Path, image: Path) -> bool:
    """Whether a sidecar may be written anew with its image: it is ours, and of no other image."""
    if not sidecar.exists():
        return True
    twins = (image.with_name(stem(image) + suffix) for suffix in _NIFTI)
    is_shared = sidecar == sidecar_of(image) and any(
        twin.name != image.name and twin.exists() for twin in twins
    )
    return is_own_record(sidecar) and not is_shared


def _is_ours(code: int, content: bytes) -> bool:
    return code == _COMMENT and content.startswith(_BEGIN)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Participant | CardiacCycle):
        return vars(value)
    return str(value)
