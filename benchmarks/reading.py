"""How long it takes to open a 4-D NIfTI: this project's reader, nibabel, and napari-nifti.

    python benchmarks/reading.py [FILE] [--peer PYTHON]

Each reading is timed in a fresh process, imports done before the clock starts; the readers take
turns, so that a busy machine hurts them alike. ``--peer`` names the Python of an environment with
napari-nifti. FILE is by default the cine of ACDC's patient090 in the shared data.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("MRGEN_DATA", HERE.parents[1] / "shared" / "data"))
CINE = DATA / "acdc-sample" / "training" / "patient090" / "patient090_4d.nii.gz"

OURS, NIBABEL, PEER = "napari-mrgen, to a layer with contrast limits", "nibabel", "napari-nifti"
RUNS = 21

TIMED = """
import json, sys, time
{imports}
path = sys.argv[1]
start = time.perf_counter()
{reading}
seconds = time.perf_counter() - start
print(json.dumps({{"seconds": seconds, "shape": shape, "torch": "torch" in sys.modules}}))
"""

READERS = {
    OURS: (
        "from napari_mrgen.io.plugin import get_reader",
        "shape = get_reader(path)(path)[0][0].shape",
    ),
    NIBABEL: (
        "import nibabel, numpy",
        "shape = numpy.asanyarray(nibabel.load(path).dataobj).shape",
    ),
    PEER: (
        "from napari_nifti._reader import napari_get_reader",
        "shape = napari_get_reader(path)(path)[0][0].shape",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", nargs="?", type=Path, default=CINE)
    parser.add_argument("--peer", type=Path, help="Python of an environment with napari-nifti")
    parser.add_argument("--runs", type=int, default=RUNS)
    asked = parser.parse_args()
    pythons = {OURS: sys.executable, NIBABEL: sys.executable}
    if asked.peer:
        pythons[PEER] = str(asked.peer)
    readings: dict[str, list[dict[str, Any]]] = {name: [] for name in pythons}
    for _ in range(asked.runs):
        for name, python in pythons.items():
            readings[name].append(time_once(name, python, asked.file))
    report = summary(readings, asked.file)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "reading.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    (HERE / "results" / "reading.md").write_text(table(report), "utf-8")
    print(table(report))


def time_once(name: str, python: str, file: Path) -> dict[str, Any]:
    imports, reading = READERS[name]
    code = TIMED.format(imports=imports, reading=reading)
    done = subprocess.run(
        [python, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    reading_: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return reading_


def summary(readings: dict[str, list[dict[str, Any]]], file: Path) -> dict[str, Any]:
    """Return medians, and the median of the ratios to nibabel's reading of the same turn."""
    base = [one["seconds"] for one in readings[NIBABEL]]
    rows = {}
    for name, ones in readings.items():
        seconds = [one["seconds"] for one in ones]
        ratios = [a / b for a, b in zip(seconds, base, strict=True)]
        rows[name] = {
            "median_s": statistics.median(seconds),
            "quartiles_s": statistics.quantiles(seconds, n=4)[::2],
            "ratio_to_nibabel": statistics.median(ratios),
            "shape": ones[0]["shape"],
            "imports_torch": any(one["torch"] for one in ones),
        }
    return {"file": file.name, "runs": len(base), "machine": machine(), "readers": rows}


def machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "nibabel"))
    cores = f"{os.cpu_count()} cores"
    return (
        f"{model or platform.machine()}, {cores}, Python {platform.python_version()}, {libraries}"
    )


def table(report: dict[str, Any]) -> str:
    lines = [
        "# Reading a 4-D NIfTI",
        "",
        f"`{report['file']}`, median of {report['runs']} fresh processes; {report['machine']}.",
        "Made by `benchmarks/reading.py`; the clock runs from the path to the array in memory.",
        "",
        "| reader | ms | quartiles | times nibabel | array | imports torch |",
        "|---|---:|---:|---:|---|---|",
    ]
    for name, row in report["readers"].items():
        low, high = (1000 * value for value in row["quartiles_s"])
        shape = " x ".join(str(size) for size in row["shape"])
        torch = "yes" if row["imports_torch"] else "no"
        lines.append(
            f"| {name} | {1000 * row['median_s']:.0f} | {low:.0f} to {high:.0f} "
            f"| {row['ratio_to_nibabel']:.2f} | {shape} | {torch} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
