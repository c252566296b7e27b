"""Read files, each in a process of its own under a memory limit; a JSON line says how it went.

Run as ``python limited_reader.py ROOT`` with paths below ROOT on standard input. The modules are
loaded once, then each file is read in a fork.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.nifti import read

MEMORY = 500 << 20
SECONDS = 10


def main() -> None:
    root = Path(sys.argv[1])
    for line in sys.stdin:
        report, child = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(child, json.dumps(attempt(root / line.strip())).encode())
            os._exit(0)
        os.close(child)
        _, status = os.waitpid(pid, 0)
        told = os.read(report, 1 << 16)
        os.close(report)
        outcome = json.loads(told) if status == 0 else {"crash": status}
        sys.stdout.write(json.dumps({"path": line.strip(), **outcome}) + "\n")


def attempt(path: Path) -> dict[str, Any]:
    """Read one file under the limits; the memory is that of the whole process at its peak."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (in_use("VmSize") + MEMORY,) * 2)
    start = time.monotonic()
    outcome: dict[str, Any]
    try:
        volume = read(path)
        outcome = {
            "axes": volume.axes,
            "shape": list(volume.array.shape),
            "affine": (volume.affine.round(4) + 0.0).tolist(),
            "dtype": volume.array.dtype.name,
        }
    except MrgenError as error:
        outcome = {"error": str(error)}
    return {**outcome, "seconds": time.monotonic() - start, "peak": in_use("VmHWM")}


def in_use(kind: str) -> int:
    """Return a figure of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(kind))


if __name__ == "__main__":
    main()
