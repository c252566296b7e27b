"""HDF5 files of strangers: opened with a time limit, read within the memory that there is.

A damaged file can make the HDF5 library loop for ever, and a file can name others: external
storage, external links and virtual datasets would read any file of this machine into an image. None
is followed. Sizes are compared with what is stored before anything is read.
"""

from __future__ import annotations

import atexit
import functools
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.files import why_not_there
from napari_mrgen.volume import Array
from napari_mrgen.wording import format_size

_MOST_SECONDS, _SECONDS_TO_START = 10.0, 60.0
_MOST_COMPRESSED = 1032
"""Largest ratio of deflate."""
_FAULTS = (
    OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError,
    ArithmeticError, MemoryError, RecursionError,
)  # fmt: skip
_PROBE = """
import os, sys, h5py

def look(group, depth):
    for name in list(group)[:100]:
        try:
            link = group.get(name, getlink=True)
            one = group[name] if isinstance(link, h5py.HardLink) else None
            if isinstance(one, h5py.Group) and depth:
                look(one, depth - 1)
            elif isinstance(one, h5py.Dataset) and one.external is None and not one.is_virtual:
                if one.ndim == 1 and one.id.get_storage_size():
                    count = len(one) if os.path.getsize(path) < 1 << 26 else 16
                    one[:count], one[-count:]
        except Exception:
            pass

print("ready", flush=True)
for line in sys.stdin:
    path = line.rstrip("\\n")
    try:
        with h5py.File(path, "r") as file:
            look(file, 1)
            list(file.attrs.items())
    except Exception:
        pass
    print("done", flush=True)
"""
"""Reads what has elements of any length, in which a damaged file can lead round in a circle."""


class _Prober:
    """A process that opens files first: one that never ends costs that process, not this one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def ends(self, path: Path) -> bool:
        """Whether a file can be looked through within the time limit."""
        with self._lock:
            process = self._started()
            if process is None:
                return True  # Without a process to look, the file is opened here.
            if _ask(process, f"{path}\n", _MOST_SECONDS):
                return True
            self._end(process)
            return False

    def _started(self) -> subprocess.Popen[str] | None:
        """Return the process, ready to be asked; None where it does not start."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                # Not from the folder that this process works in, which may be a stranger's.
                [sys.executable, "-P", "-c", _PROBE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="surrogateescape",
            )
            if not _ask(self._process, "", _SECONDS_TO_START):
                self._end(self._process)
        return self._process

    def close(self) -> None:
        """End the process, as this one ends."""
        if self._process is not None:
            self._end(self._process)

    def _end(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        with process:  # Waits, and closes its pipes.
            self._process = None


def _ask(process: subprocess.Popen[str], line: str, seconds: float) -> bool:
    """Hand over a line, and tell whether an answer comes in time."""
    answers: list[str] = []

    def talk() -> None:
        if process.stdin is not None and process.stdout is not None:
            with suppress(OSError):  # It has ended: there is no answer.
                process.stdin.write(line)
                process.stdin.flush()
                answers.append(process.stdout.readline())

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        process.kill()  # So that the thread, which waits for it, ends too.
        thread.join()
    return any(answers)


_prober = _Prober()
atexit.register(_prober.close)


@functools.lru_cache(maxsize=10_000)
def _ends(path: Path, _modified: int, _size: int) -> bool:
    # A name with a line break cannot be handed over; it is opened here.
    return "\n" in str(path) or _prober.ends(path)


@contextmanager
def opened_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file to read; a fault, here or while it is read, becomes a sentence."""
    import h5py

    if reason := why_not_there(path):
        raise MrgenError(reason)
    try:
        status = path.stat()
        if not _ends(path.absolute(), status.st_mtime_ns, status.st_size):
            raise _damaged(path)
        with h5py.File(path, "r") as file:
            yield file
    except MrgenError:
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise MrgenError(f"{path} cannot be opened: {error.strerror}.") from error
    except _FAULTS as error:
        raise _damaged(path) from error


@contextmanager
def damage_said(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a file's content is used into a sentence."""
    try:
        yield
    except MrgenError:
        raise
    except _FAULTS as error:
        raise _damaged(path) from error


def child(group: Any, name: str) -> Any:
    """Return what a group holds under a name, None without it; links to other files are refused."""
    import h5py

    for part in name.split("/"):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise _elsewhere(group)
        try:
            group = group.get(part)
        except RuntimeError:  # Links that lead round in a circle.
            return None
    return group


def read_dataset(dataset: Any, selection: Any = ()) -> Array:
    """Read a dataset, or the part that a selection names, once its size is known to be true."""
    import h5py

    name = Path(dataset.file.filename).name
    if not isinstance(dataset, h5py.Dataset):
        raise MrgenError(f"{name} holds no values under {dataset.name}.")
    check_dataset(dataset)
    values: Array = dataset[selection]
    return values


def check_dataset(dataset: Any) -> None:
    """Refuse values that are in another file, that are not there, or that memory cannot hold."""
    name = Path(dataset.file.filename).name
    if dataset.external is not None or dataset.is_virtual:
        raise _elsewhere(dataset)
    size = int(dataset.size or 0) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    is_packed = dataset.compression is not None or bool(
        dataset.id.get_create_plist().get_nfilters()
    )
    if size > stored * (_MOST_COMPRESSED if is_packed else 1):
        msg = (
            f"{name} is damaged or cut short: {dataset.name} promises {size:,} bytes and "
            f"{stored:,} are stored; copy or download it again."
        )
        raise MrgenError(msg)
    check_memory(name, size)


def check_memory(name: str, size: int) -> None:
    """Refuse what would take more than half of the memory that is free."""
    free = psutil.virtual_memory().available
    if size > free / 2:
        msg = (
            f"{name} needs {format_size(size)} of memory, {format_size(free)} are free; close "
            "other programs or cut the file into parts."
        )
        raise MrgenError(msg)


def _elsewhere(item: Any) -> MrgenError:
    name = Path(item.file.filename).name
    return MrgenError(
        f"{name} keeps {item.name} in another file, which is not followed; copy it into one file "
        "with h5repack or h5copy."
    )


def _damaged(path: Path) -> MrgenError:
    return MrgenError(f"{path.name} is damaged or not an HDF5 file; copy or download it again.")
