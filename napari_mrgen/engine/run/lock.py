"""One trainer for a run folder: who holds it, and whether they still live."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psutil

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.files import replacing

_CLAIMS = "lock*.json"
_SILENCE = 600.0
"""Seconds without an event after which a trainer on another machine is taken for dead."""


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run folder, or say in one sentence who does.

    The own claim stands before others are looked for, so of two that come at once one sees the
    other. No claim's name comes twice: who removes a dead one, or their own, never hits another.
    """
    path = run_dir / f"lock-{uuid4().hex}.json"
    claim = {"host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}
    with replacing(path) as file:  # Whole at once: a torn claim is a dead one.
        file.write(json.dumps(claim).encode())
    try:
        others = {other: _living(other) for other in set(run_dir.glob(_CLAIMS)) - {path}}
        for dead in (other for other, holder in others.items() if holder is None):
            dead.unlink(missing_ok=True)
        if holder := next(filter(None, others.values()), None):
            msg = (
                f"{run_dir.name} is being trained by {holder}; "
                "stop that first, or wait for its end."
            )
            raise MrgenError(msg)
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def living_trainer(run_dir: Path) -> str | None:
    """Name the process that trains in this folder now; None if there is none."""
    return next(filter(None, map(_living, run_dir.glob(_CLAIMS))), None)


def _living(claim: Path) -> str | None:
    """Name the process of a claim, if it lives."""
    try:
        lock = json.loads(claim.read_text(encoding="utf-8"))
        host, pid, born = str(lock["host"]), int(lock["pid"]), float(lock["born"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if host != socket.gethostname():
        return f"{host} (process {pid})" if _is_talking(claim.parent) else None
    return f"process {pid}" if _born(pid) == born else None


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
