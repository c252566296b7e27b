"""Count the files of the package that four everyday paths go through, by a profiler.

``python scripts/files_entered.py`` takes each path once on the built-in heart: a drop on napari to
its layers, `train` to the first optimizer step, `generate` to the written file, and `evaluate` to
the scoreboard. A file counts when one of its functions is called; importing it alone does not. Each
count stands beside its limit and its aim, and the script fails where one exceeds its limit;
``--list`` names the files.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from torch.optim.optimizer import register_optimizer_step_pre_hook

import napari_mrgen
from napari_mrgen.cli.main import main as run_program
from napari_mrgen.io import nifti, plugin
from napari_mrgen.samples import beating_heart

PACKAGE = Path(napari_mrgen.__file__).parent
LIMITS = {
    "drop to layer": (16, 10),
    "train to the first optimizer step": (52, 48),
    "generate to the written file": (36, 36),
    "evaluate to the scoreboard": (43, 36),
}
"""The limit of each count, and its aim."""


@contextlib.contextmanager
def entered() -> Iterator[set[str]]:
    """Collect the package's files whose functions are called, in all threads."""
    files: set[str] = set()
    root = f"{PACKAGE}/"

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        is_function = code.co_flags & 0x02  # CO_NEWLOCALS: not the body of a class or a module
        if event == "call" and is_function and code.co_filename.startswith(root):
            files.add(code.co_filename.removeprefix(root))

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        yield files
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def quietly(*arguments: object) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        code = run_program([str(argument) for argument in arguments])
    if code:
        sys.exit(f"napari-mrgen {arguments[0]} ended with {code}")


def drop(path: Path) -> set[str]:
    with entered() as files:
        reader = plugin.get_reader(str(path))
        if reader is None or not reader(str(path)):
            sys.exit("the reader gave no layer")
    return files


def train(hearts: Path, run: Path) -> set[str]:
    """Train to the end, and return what was entered before the first step of an optimizer."""
    before_step: list[set[str]] = []

    def on_step(*_: Any) -> None:
        if not before_step:
            before_step.append(set(files))

    hook = register_optimizer_step_pre_hook(on_step)
    with entered() as files:
        quietly(
            "train", "frame_prediction", "--preset", "tiny", "--device", "cpu",
            "--input", f"cine={hearts}", "--out", run,
        )  # fmt: skip
    hook.remove()
    return before_step[0]


def command(*arguments: object) -> set[str]:
    with entered() as files:
        quietly(*arguments)
    return files


def main(folder: Path) -> int:
    hearts, run = folder / "hearts", folder / "run"
    hearts.mkdir()
    for patient in range(3):
        cine, _ = beating_heart(patient, frames=14, slices=2, size=40)
        nifti.write(cine, hearts / f"heart-{patient}.nii.gz")
    cine = hearts / "heart-0.nii.gz"
    out, report = folder / "next.nii.gz", folder / "report.json"
    paths: dict[str, Callable[[], set[str]]] = {
        "drop to layer": lambda: drop(cine),
        "train to the first optimizer step": lambda: train(hearts, run),
        "generate to the written file": lambda: command(
            "generate", run, "--input", f"cine={cine}", "--out", out, "--device", "cpu"
        ),
        "evaluate to the scoreboard": lambda: command(
            "evaluate", run, "--input", f"cine={hearts}", "--out", report, "--device", "cpu"
        ),
    }
    is_over = False
    for name, take in paths.items():
        files = take()
        limit, aim = LIMITS[name]
        is_over |= len(files) > limit
        print(f"{len(files):>4} files  {name}   (limit {limit}, aim {aim})")
        if "--list" in sys.argv:
            print("".join(f"            {file}\n" for file in sorted(files)), end="")
    return int(is_over)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        sys.exit(main(Path(name)))
