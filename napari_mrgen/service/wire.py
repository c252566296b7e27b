"""How a Volume travels: a NIfTI file, which any program reads, and what it does not hold as JSON.

A NIfTI file alone gives a Volume back whose affine is rounded to float32, whose frame times are
even and whose axes may lie otherwise. With its facts it is the same again, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.facts import Facts as VolumeFacts
from napari_mrgen.io.geometry import Order
from napari_mrgen.volume import AXES, Kind, Source, Volume

Row = tuple[float, float, float, float]

NAME_BYTES = 200
"""Longest name of a file that is taken from elsewhere."""


class Storage(BaseModel):
    """How the file holds a volume: what is left of its source on the way."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    axes: tuple[int, int, int] = (2, 1, 0)
    flips: tuple[bool, bool, bool] = (False, False, False)
    codes: tuple[int, int] = (0, 0)
    spacing_known: bool = True

    @model_validator(mode="after")
    def _check(self) -> Storage:
        if sorted(self.axes) != [0, 1, 2]:
            msg = f"axes must be 0, 1 and 2 in some order, got {self.axes}"
            raise ValueError(msg)
        return self

    @classmethod
    def of(cls, volume: Volume) -> Storage:
        source = volume.source or Source()
        return cls(
            axes=source.axes,
            flips=source.flips,
            codes=source.codes,
            spacing_known=source.spacing_known,
        )

    @property
    def is_plain(self) -> bool:
        """Whether it says no more than that there was no source."""
        return self == Storage()

    @property
    def order(self) -> Order:
        return Order(self.axes, self.flips)


class Facts(VolumeFacts):
    """What makes a Volume of a NIfTI file again; it comes from elsewhere and is checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    axes: str
    kind: Kind = "image"
    dtype: str
    shape: tuple[int, ...]
    affine: tuple[Row, Row, Row, Row]
    storage: Storage = Storage()
    source_of: str | None = None
    """The input whose header and order of axes a result has."""

    @model_validator(mode="after")
    def _check(self) -> Facts:
        if self.axes not in AXES or len(self.axes) != len(self.shape):
            msg = f"axes {self.axes!r} do not fit the shape {self.shape}"
            raise ValueError(msg)
        if np.dtype(self.dtype).kind not in "biuf":
            msg = f"dtype {self.dtype!r} is no type of number"
            raise ValueError(msg)
        affine = np.array(self.affine)
        if not (np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 0):
            msg = "the affine gives voxels no size"
            raise ValueError(msg)
        return self


def pack(
    volume: Volume, path: Path, inputs: Mapping[str, Volume] | None = None
) -> tuple[bytes, Facts]:
    """Write a volume as NIfTI to ``path`` and return the file's bytes, and its facts.

    ``inputs`` are those that it was made from: a result often has the source of one of them.
    """
    of = [role for role, given in (inputs or {}).items() if given.source is volume.source]
    facts = Facts.of(
        volume,
        axes=volume.axes,
        kind=volume.kind,
        dtype=volume.array.dtype.newbyteorder("=").str,
        shape=volume.array.shape,
        affine=volume.affine.tolist(),
        storage=Storage.of(volume).model_dump(),
        source_of=of[0] if of and volume.source is not None else None,
    )
    nifti.write(_exactly_stored(volume), path, sidecar=False)
    return path.read_bytes(), facts


def unpack(path: Path, facts: Facts) -> Volume:
    """Read a volume as it was before `pack`; its source is only how the file holds it."""
    found = nifti.read(path)
    read = Storage.of(found).order
    array = facts.storage.order.apply(read.undo(found.array))
    if math.prod(facts.shape) != array.size:
        msg = (
            f"The facts of {facts.name or path.name} say {facts.shape} voxels, the file has "
            f"{array.shape}; send them together."
        )
        raise MrgenError(msg)
    try:
        volume = Volume(
            array=np.ascontiguousarray(array.reshape(facts.shape)).astype(facts.dtype, copy=False),
            axes=facts.axes,
            affine=np.array(facts.affine, np.float64),
            kind=facts.kind,
            source=Source(**facts.storage.model_dump()),
        )
        return facts.apply(volume)
    except ValueError as error:
        raise MrgenError(f"The facts of a volume cannot be used: {error}.") from None


def safe_name(name: str) -> str:
    """Return the last part of a file's name from elsewhere, without what could leave a folder."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(letter for letter in last if letter.isprintable() and letter not in ':*?"<>|')
    short = kept.lstrip(".").encode()[-NAME_BYTES:].decode(errors="ignore")
    return short or "volume.nii"


def to_json(facts: Facts) -> bytes:
    return facts.model_dump_json(indent=2).encode()


def _exactly_stored(volume: Volume) -> Volume:
    """Return a volume of which a file keeps every bit: generated images are written as float32."""
    is_exact = volume.kind == "labels" or np.can_cast(volume.array.dtype, np.float32)
    return volume if is_exact else replace(volume, provenance=None)
