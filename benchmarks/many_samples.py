"""Ten thousand samples into a folder: how long, and how much memory on the way.

    python benchmarks/many_samples.py RUN [--samples 10000]

Runs the command line in a process of its own, watches its memory, and then once more, stopped by
Ctrl-C after some seconds: what its table lists must lie on the disk.
"""

from __future__ import annotations

import argparse
import csv
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from common import grid, machine, write

SECONDS_TO_STOP = 15.0
_MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="a run that draws slices")
    parser.add_argument("--samples", type=int, default=10_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "machine": machine(),
            "samples": chosen.samples,
            "whole": draw(chosen.run, Path(folder) / "whole", chosen.samples),
            "stopped": draw(chosen.run, Path(folder) / "stopped", chosen.samples, SECONDS_TO_STOP),
        }
    write("many_samples", found, markdown(found))


def draw(run: Path, out: Path, samples: int, stop_after: float | None = None) -> dict[str, Any]:
    """Draw into a folder and watch; Ctrl-C once so many seconds have passed since the first."""
    words = ("generate", run, "--set", f"samples={samples}", "--out", out)
    started, first = time.monotonic(), 0.0
    process = subprocess.Popen([sys.executable, "-m", "napari_mrgen", *map(str, words)])
    memory: list[tuple[int, int]] = []
    while process.poll() is None:
        time.sleep(0.5)
        count = _listed(out)
        memory.append((count, _memory(process.pid)))
        first = first or (time.monotonic() if count else 0.0)
        if stop_after is not None and first and time.monotonic() - first > stop_after:
            process.send_signal(signal.SIGINT)
            stop_after = None
    counted = _listed(out)
    files = len(list(out.glob("sample-*")))
    return {
        "seconds": time.monotonic() - started,
        "exit status": process.returncode,
        "listed": counted,
        "files": files,
        "MiB at a tenth": _peak(memory, 0, counted / 10),
        "MiB after that": _peak(memory, counted / 10, counted),
    }


def _listed(out: Path) -> int:
    table = out / "samples.csv"
    if not table.exists():
        return 0
    with table.open(newline="") as file:
        return max(0, sum(1 for _ in csv.reader(file)) - 1)


def _memory(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _peak(memory: list[tuple[int, int]], after: float, until: float) -> float:
    return max((size for count, size in memory if after <= count <= until), default=0) / _MIB


def markdown(found: dict[str, Any]) -> str:
    rows = [["", "whole", "stopped"]]
    for name in found["whole"]:
        rows.append([name, *(f"{found[kind][name]:.0f}" for kind in ("whole", "stopped"))])
    return f"Machine: {found['machine']}. {found['samples']} samples.\n\n{grid(rows)}\n"


if __name__ == "__main__":
    main()
