"""Results on their way: a tar of NIfTI files, each after its facts, that is read while it grows.

A tar has no table of contents, so the first result can be used before the last is made, and `tar x`
opens it. A reader knows that it is whole by its end; what went wrong on the way is its last member.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from napari_mrgen.app.outputs import slug
from napari_mrgen.errors import MrgenError
from napari_mrgen.service.wire import Facts, pack, to_json, unpack
from napari_mrgen.volume import Volume

MEDIA_TYPE = "application/x-tar"
PROBLEM = "problem.txt"
END = bytes(2 * tarfile.BLOCKSIZE)
"""Says that nothing is missing."""
_SUFFIX = ".nii.gz"


def members(volume: Volume, number: int, inputs: Mapping[str, Volume]) -> bytes:
    """Return a result as two members of a tar; the first result has the number 1."""
    name = f"{number:05d}-{slug(volume.name)[:80]}"
    with tempfile.TemporaryDirectory(prefix="napari-mrgen-") as folder:
        image, facts = pack(volume, Path(folder) / f"{name}{_SUFFIX}", inputs)
    return member(f"{name}.json", to_json(facts)) + member(f"{name}{_SUFFIX}", image)


def problem(sentence: str) -> bytes:
    """Return the member that says why a tar ends before its time."""
    return member(PROBLEM, f"{sentence}\n".encode())


def member(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


@dataclass
class Ended:
    """Remembers whether the end of a tar was seen, which `tarfile` does not ask for."""

    stream: IO[bytes]
    tail: bytes = b""

    def read(self, size: int) -> bytes:
        piece = self.stream.read(size)
        self.tail = (self.tail + piece)[-len(END) :]
        return piece


def read(stream: IO[bytes]) -> Iterator[tuple[Volume, Facts]]:
    """Yield the results as they come, each as it was made.

    Raises
    ------
    MrgenError
        If the tar is cut short, or its last member says what went wrong.
    """
    watched = Ended(stream)
    facts: Facts | None = None
    try:
        with (
            tempfile.TemporaryDirectory(prefix="napari-mrgen-") as folder,
            tarfile.open(fileobj=cast("IO[bytes]", watched), mode="r|") as tar,
        ):
            for info in tar:
                data = _content(tar, info)
                if info.name == PROBLEM:
                    raise MrgenError(data.decode(errors="replace").strip())
                if info.name.endswith(".json"):
                    facts = Facts.parse(data)
                elif facts is not None:
                    # Named here: nothing of what comes from elsewhere becomes a path.
                    path = Path(folder) / f"result{_SUFFIX}"
                    path.write_bytes(data)
                    yield unpack(path, facts), facts
            while watched.read(tarfile.RECORDSIZE):
                pass  # `tarfile` stops in the middle of the end, where a slow line cuts it there.
    except tarfile.TarError as error:
        raise MrgenError(f"The answer is no tar of results, or it is damaged ({error}).") from None
    if watched.tail != END:
        raise MrgenError("The answer ended before its time; try again.")


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info) if info.isfile() else None
    if file is None:
        raise MrgenError("The answer holds something that is no file.")
    return file.read()
