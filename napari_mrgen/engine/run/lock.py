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
_CLOCK_STEP = 5.0
"""By so many seconds the start of a process may seem to change, where only the clock tells it."""
_SILENCE = 600.0
"""Seconds without an event after which a trainer on another machine is taken for dead."""


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run folder, or say in one sentence who does.

    The own claim stands before others are looked for, so of two that come at once one sees the
    other. No claim's name comes twice: who removes a dead one, or their own, never hits another.
    """
    path = run_dir / f"lock-{uuid4().hex}.json"
    pid = os.getpid()
    claim = {
        "host": socket.gethostname(), "pid": pid, "born": _born(pid), "ticks": _ticks(pid),
        "boot": _boot(),
    }  # fmt: skip
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
        ticks, boot = lock.get("ticks"), lock.get("boot")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if host != socket.gethostname():
        return f"{host} (process {pid})" if _is_talking(claim.parent) else None
    if ticks is not None and _boot():
        is_same = boot == _boot() and _ticks(pid) == ticks
    else:
        now = _born(pid)
        is_same = now is not None and abs(now - born) < _CLOCK_STEP
    return f"process {pid}" if is_same else None


def _ticks(pid: int) -> int | None:
    """Return when a process started, in ticks since the machine did; None where Linux is not.

    Unlike a time of day it does not change when the clock is set.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _boot() -> str:
    """Return the identifier of this start of the machine, '' where Linux is not."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


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
