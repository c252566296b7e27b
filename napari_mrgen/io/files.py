"""Bytes in and out: reading that a lying header cannot hurt, writing that leaves no half file."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import IO, Literal, TextIO

import numpy as np
import numpy.typing as npt
import psutil

from napari_mrgen.errors import MrgenError
from napari_mrgen.wording import format_size

_DRAFTS = ".*.part.*"
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 31
_MOST_COMPRESSED = 1032
"""Largest ratio of deflate, which limits what a compressed file can hold."""
_GZIP_LENGTHS = 1 << 32
_PIECE = 1 << 17
_LITTLE = 4096
_LEVEL = 3


def read_head(path: Path, length: int) -> bytes:
    """Return the first bytes, after decompression; fewer where the file is shorter."""
    with _opened(path) as file:
        if not _is_gzip(file):
            return file.read(length)
        return b"".join(_inflate(file, length))


def read_span(path: Path, start: int, length: int) -> npt.NDArray[np.uint8]:
    """Return ``length`` bytes from ``start`` on, after decompression.

    Nothing is allocated before the file's own size says that it can hold as much.
    """
    with _opened(path) as file:
        _check_room(path, start + length, _is_gzip(file))
        span = np.empty(length, np.uint8)
        if _is_gzip(file):
            filled = _fill(span, _inflate(file, start + length), start)
        else:
            file.seek(start)
            filled = file.readinto(span.data)
    if filled < length:
        raise _cut_short(path, length, filled)
    return span


def check_span(path: Path, length: int) -> None:
    """Raise `MrgenError` where a file has not ``length`` bytes, after decompression.

    A compressed file says at its end how many it has; only one that says less is decompressed.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if not _is_gzip(file):
            if size < length:
                raise _cut_short(path, length, size)
            return
        _check_size(path, length, gzipped=True)
        file.seek(max(0, size - 4))
        promised = int.from_bytes(file.read(4), "little")
        # The length is kept in 32 bits; there may be more after the image.
        if length % _GZIP_LENGTHS <= promised <= length % _GZIP_LENGTHS + _LITTLE:
            return
        file.seek(0)
        filled = sum(len(piece) for piece in _inflate(file, length))
        if filled < length:
            raise _cut_short(path, length, filled)


def _cut_short(path: Path, promised: int, found: int) -> MrgenError:
    return MrgenError(
        f"{path.name} is cut short: its header promises {promised:,} bytes of image, "
        f"{found:,} are there; copy or download the file again."
    )


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """Give a name to write to, with the same suffix; it takes the place of ``path`` at the end."""
    draft = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def open_table(path: Path, mode: Literal["r", "w", "a"] = "r") -> TextIO:
    """Open a CSV file that may hold names of files, which need not be UTF-8."""
    return path.open(mode, newline="", encoding="utf-8", errors="surrogateescape")


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of ``path`` when all of it is on the disk."""
    with drafted(path) as draft, draft.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    if os.name == "nt":  # A folder cannot be opened there, and need not be.
        return
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_drafts(folder: Path, parts: Iterable[str]) -> None:
    """Remove what a killed process left half written in a folder, and anywhere in parts of it.

    In others below it, such as another run's, somebody may be writing.
    """
    inside = (folder.joinpath(part).rglob(_DRAFTS) for part in parts)
    for draft in chain(folder.glob(_DRAFTS), *inside):
        draft.unlink(missing_ok=True)


@contextmanager
def saving(path: Path) -> Iterator[Path]:
    """Give the name of a draft to write to; say in one sentence why it could not be saved."""
    try:
        with drafted(path) as draft:
            yield draft
    except OSError as error:
        raise MrgenError(_why_not_saved(path, error)) from error


def write_pieces(path: Path, pieces: Iterable[memoryview], *, compress: bool) -> None:
    """Write bytes, compressed where that is asked for; the same bytes always give the same file."""
    deflater = zlib.compressobj(_LEVEL, wbits=_GZIP_WINDOW)
    with path.open("wb") as file:
        for piece in pieces:
            if not compress:
                file.write(piece)
                continue
            for start in range(0, len(piece), _PIECE):
                file.write(deflater.compress(piece[start : start + _PIECE]))
        if compress:
            file.write(deflater.flush())


def _is_gzip(file: BufferedReader) -> bool:
    magic = file.read(2)
    file.seek(0)
    return magic == _GZIP_MAGIC


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    if reason := why_not_there(path):
        raise MrgenError(reason)
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise MrgenError(f"{path} cannot be opened: {error.strerror}.") from error
    except zlib.error as error:
        msg = f"{path.name} is damaged: it does not decompress; copy or download it again."
        raise MrgenError(msg) from error


def why_not_there(path: Path) -> str:
    """Say why there is no content at a path, such as a pointer to what was not fetched; else ""."""
    if path.is_symlink() and not path.exists():
        if "annex" in os.readlink(path):
            return (
                f"{path.name} is a link to a file that was not fetched; run "
                f"`git annex get {path.name}` or `datalad get {path.name}`."
            )
        return f"{path.name} is a link to a file that is not there; copy or mount it."
    if path.exists() and not path.is_file():
        return f"{path} cannot be opened: it is no regular file."
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip().lower()
    except OSError:
        return ""  # Said by what opens it.
    if not head:
        return f"{path.name} is empty; copy or download it again."
    if head.startswith(b"version https://git-lfs"):
        return f"{path.name} is a Git LFS pointer: its image was not fetched; run `git lfs pull`."
    if head.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return f"{path.name} is a web page or XML, not an image; download it again."
    return ""


def _check_size(path: Path, needed: int, gzipped: bool) -> None:
    size = path.stat().st_size
    most = size * _MOST_COMPRESSED if gzipped else size
    if needed > most:
        msg = (
            f"{path.name} is cut short or not what it says: its header promises {needed:,} bytes, "
            f"a file of {size:,} bytes cannot hold more than {most:,}; copy or download it again."
        )
        raise MrgenError(msg)


def _check_room(path: Path, needed: int, gzipped: bool) -> None:
    _check_size(path, needed, gzipped)
    free = psutil.virtual_memory().available
    if needed > free:
        msg = (
            f"{path.name} needs {format_size(needed)} of memory, {format_size(free)} are "
            "free; close other programs or cut the file into parts."
        )
        raise MrgenError(msg)


def _fill(span: npt.NDArray[np.uint8], pieces: Iterable[bytes], skipped: int) -> int:
    """Copy what comes after the first ``skipped`` bytes; return how much that was."""
    target = span.data
    place = -skipped
    for piece in pieces:
        rest = memoryview(piece)[max(0, -place) :]
        start = max(0, place)
        target[start : start + len(rest)] = rest
        place += len(piece)
    return max(0, place)


def _inflate(file: BufferedReader, length: int) -> Iterator[bytes]:
    """Yield at most ``length`` decompressed bytes; a file of several gzip members is one stream."""
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    pending = b""
    while length > 0:
        pending = pending or file.read(min(_PIECE, length + _LITTLE))
        if not pending:
            return
        piece = inflater.decompress(pending, min(length, _PIECE))
        length -= len(piece)
        yield piece
        pending = inflater.unconsumed_tail
        if inflater.eof:
            # Zeros may pad the end of a member.
            pending = inflater.unused_data.lstrip(b"\0")
            if pending and not _GZIP_MAGIC.startswith(pending[:2]):
                return  # What follows is no gzip member: uploads leave text there.
            inflater = zlib.decompressobj(_GZIP_WINDOW)
    # One byte more makes zlib compare the checksum at the end of the stream, where this is it.
    inflater.decompress(pending or file.read(_PIECE), 1)


def _why_not_saved(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path.name} was not saved: the disk is full; free some space or save elsewhere."
    return f"{path.name} was not saved in {path.parent}: {error.strerror}."
