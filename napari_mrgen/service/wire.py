"""How volumes travel between a service and its client.

A volume is a NIfTI file, which any program reads, and a JSON text with what the file alone does not
tell: its name, its kind, and whose header it has. Results form a tar of such pairs. A tar has no
table of contents, so that the first result can be used before the last one is generated, and
``tar x`` opens it. A reader knows by its end that it is complete; a failure is its last member.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from pydantic import ConfigDict

from napari_mrgen.app.outputs import slug
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.facts import Facts, Grid
from napari_mrgen.volume import Kind, Source, Volume

MEDIA_TYPE = "application/x-tar"
PROBLEM = "problem.txt"
END = bytes(2 * tarfile.BLOCKSIZE)
"""The end of a complete tar."""
SUFFIX = ".nii.gz"
NAME_BYTES = 200
"""Longest name of a file that is taken from elsewhere."""


class TravelFacts(Facts, Grid):
    """The JSON beside a NIfTI file; it comes from elsewhere and is checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    kind: Kind = "image"
    source: Source | None = None
    source_of: str | None = None
    """Role of the input whose header a result has."""


# ---------------------------------------------------------------- one volume


def pack(volume: Volume, path: Path, inputs: Mapping[str, Volume] | None = None) -> TravelFacts:
    """Write a volume as NIfTI to ``path``, and return its facts.

    ``inputs`` are those that it was made from: a result often has the source of one of them.
    """
    source = volume.source or Source()
    roles = [role for role, one in (inputs or {}).items() if one.source is volume.source]
    facts = TravelFacts.of(
        volume,
        axes=volume.axes,
        shape=volume.array.shape,
        dtype=volume.array.dtype.newbyteorder("=").str,
        affine=volume.affine.tolist(),
        order=source.axes,
        flips=source.flips,
        kind=volume.kind,
        source=None if volume.source is None else _plain_source(source),
        source_of=roles[0] if roles and volume.source is not None else None,
    )
    # A generated image is stored as float32; without its provenance every bit is kept.
    is_exact = volume.kind == "labels" or np.can_cast(volume.array.dtype, np.float32)
    nifti.write(volume if is_exact else replace(volume, provenance=None), path, sidecar=False)
    return facts


def unpack(path: Path, facts: TravelFacts) -> Volume:
    """Return the volume that `pack` wrote, bit for bit; of its source only how the file holds it.

    Raises
    ------
    MrgenError
        If the facts are those of another file.
    """
    volume = nifti.read(path)
    if volume.array.shape != facts.shape:
        msg = (
            f"The facts of {facts.name or path.name} say {facts.shape} voxels, the file has "
            f"{volume.array.shape}; send them together."
        )
        raise MrgenError(msg)
    try:
        complete = replace(
            volume,
            array=volume.array.astype(facts.dtype, copy=False),
            axes=facts.axes,
            affine=np.array(facts.affine, np.float64),
            kind=facts.kind,
            source=facts.source,
        )
        return facts.apply(complete)
    except ValueError as error:
        raise MrgenError(f"The facts of a volume cannot be used: {error}.") from None


def safe_name(name: str) -> str:
    """Return the last part of a file's name from elsewhere, without what could leave a folder.

    Examples
    --------
    >>> safe_name("../../etc/passwd"), safe_name("scan.nii.gz")
    ('passwd', 'scan.nii.gz')
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    allowed = "".join(letter for letter in last if letter.isprintable() and letter not in ':*?"<>|')
    short = allowed.lstrip(".").encode()[-NAME_BYTES:].decode(errors="ignore")
    return short or "volume.nii"


def _plain_source(source: Source) -> dict[str, Any]:
    """Return what may be known elsewhere of a source: not where the file lies."""
    return {
        name: getattr(source, name)
        for name in ("format", "subject", "axes", "flips", "codes", "spacing_known", "notes")
    }


# ---------------------------------------------------------------- a tar of results


def result_members(volume: Volume, number: int, inputs: Mapping[str, Volume]) -> bytes:
    """Return a result as two members of a tar; the first result has the number 1."""
    name = f"{number:05d}-{slug(volume.name)[:80]}"
    with tempfile.TemporaryDirectory(prefix="napari-mrgen-") as folder:
        path = Path(folder) / f"{name}{SUFFIX}"
        facts = pack(volume, path, inputs)
        image = path.read_bytes()
    text = json.dumps(facts.model_dump(), indent=2)
    return _member(f"{name}.json", text.encode("ascii")) + _member(f"{name}{SUFFIX}", image)


def problem_member(sentence: str) -> bytes:
    """Return the member that says why a tar ends before its time."""
    return _member(PROBLEM, f"{sentence}\n".encode(errors="backslashreplace"))


def _member(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


@dataclass
class _EndWatcher:
    """Remembers the last bytes of a tar, which `tarfile` does not check."""

    stream: IO[bytes]
    tail: bytes = b""

    def read(self, size: int) -> bytes:
        piece = self.stream.read(size)
        self.tail = (self.tail + piece)[-len(END) :]
        return piece


def read_results(stream: IO[bytes]) -> Iterator[tuple[Volume, TravelFacts]]:
    """Yield the results of a tar as they come, each as it was generated.

    Raises
    ------
    MrgenError
        If the tar is cut short, or its last member says what went wrong.
    """
    watched = _EndWatcher(stream)
    facts: TravelFacts | None = None
    try:
        with (
            tempfile.TemporaryDirectory(prefix="napari-mrgen-") as folder,
            tarfile.open(fileobj=cast("IO[bytes]", watched), mode="r|") as tar,
        ):
            for info in tar:
                file = tar.extractfile(info) if info.isfile() else None
                if file is None:
                    raise MrgenError("The answer holds something that is not a file.")
                data = file.read()
                if info.name == PROBLEM:
                    raise MrgenError(data.decode(errors="replace").strip())
                if info.name.endswith(".json"):
                    facts = TravelFacts.parse(data)
                elif facts is not None:
                    # Named here: nothing of what comes from elsewhere becomes a path.
                    path = Path(folder) / f"result{SUFFIX}"
                    path.write_bytes(data)
                    yield unpack(path, facts), facts
            while watched.read(tarfile.RECORDSIZE):
                pass  # `tarfile` stops in the middle of the end, where a slow line cuts it there.
    except tarfile.TarError as error:
        msg = f"The answer is not a tar of results, or it is damaged ({error})."
        raise MrgenError(msg) from None
    if watched.tail != END:
        raise MrgenError("The answer ended before its time; try again.")
