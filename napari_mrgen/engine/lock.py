"""One trainer for a run folder: who holds it, and whether they still live."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from napari_mrgen.errors import MrgenError

_NAME = "lock.json"
_SILENCE = 600.0
"""Seconds without an event after which a trainer on another machine is taken for dead."""


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run folder, or say in one sentence who does."""
    path = run_dir / _NAME
    if (holder := living_trainer(run_dir)) is not None:
        msg = f"{run_dir.name} is being trained by {holder}; stop that first, or wait for its end."
        raise MrgenError(msg)
    path.unlink(missing_ok=True)
    _claim(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def living_trainer(run_dir: Path) -> str | None:
    """Name the process that trains in this folder now; None if there is none."""
    try:
        lock = json.loads((run_dir / _NAME).read_text(encoding="utf-8"))
        host, pid, born = str(lock["host"]), int(lock["pid"]), float(lock["born"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if host != socket.gethostname():
        return f"{host} (process {pid})" if _is_talking(run_dir) else None
    return f"process {pid}" if _born(pid) == born else None


def _claim(path: Path) -> None:
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}
    try:
        # "x" fails if another process came first between the look and the claim.
        with path.open("x", encoding="utf-8") as file:
            json.dump(holder, file)
    except FileExistsError:
        msg = f"{path.parent.name} was just taken by another process; choose another folder."
        raise MrgenError(msg) from None


def _born(pid: int) -> float | None:
    """Start time of a living process: the same number is given again to a later process."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def _is_talking(run_dir: Path) -> bool:
    with suppress(OSError):
        return time.time() - (run_dir / "events.jsonl").stat().st_mtime < _SILENCE
    return False
