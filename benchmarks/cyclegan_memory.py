"""Peak memory of a training step of cyclegan: what was predicted, and what was then measured.

    python benchmarks/cyclegan_memory.py [--published]

Each case is measured in a process of its own. Its peak of resident memory is counted above what the
process held just before its networks were made; a step of a tiny volume has loaded code and kernels
by then. Of small volumes two steps are taken, of larger ones one, since gradients and optimizer
states of the first are little beside them. Freed blocks go back to the system, as
`engine/device.py` lets them where little memory is free; a last column leaves those of small
volumes to malloc.
``--published`` measures the published network instead, with 9 residual blocks, at its own shape.

Linux only: it reads and resets peaks under /proc.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import torch
from common import grid, machine, write

from napari_mrgen import families
from napari_mrgen.engine.device import Precision, release_memory, set_malloc_threshold
from napari_mrgen.engine.distributed import lay_out
from napari_mrgen.engine.memory.measure import measure_step
from napari_mrgen.engine.task import Batch, Draws
from napari_mrgen.engine.weights import WeightAverage
from napari_mrgen.families.cyclegan.config import CycleGanConfig
from napari_mrgen.families.cyclegan.tasks import CycleTask, TrainingSamples
from napari_mrgen.families.cyclegan.training import cycle_task

Shape = tuple[int, int, int]

SHAPES: tuple[Shape, ...] = (
    (64, 64, 64),
    (96, 96, 96),
    (128, 128, 128),
    (92, 108, 84),
    (104, 124, 104),
    (156, 188, 156),
)
"""Patches, and whole volumes of the sizes that 3D_CycleGAN was made for."""
SETTINGS: dict[str, tuple[Precision, bool]] = {
    "float32": ("32-true", False),
    "bfloat16": ("bf16-mixed", False),
    "bfloat16, checkpointing": ("bf16-mixed", True),
}
TINY: Shape = (16, 16, 16)
FEW_VOXELS = 500_000
MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """A step to be measured."""

    preset: str
    shape: Shape
    precision: Precision
    settings: Mapping[str, Any] = field(default_factory=dict)
    gives_back: bool = True
    steps: Sequence[int] = (0, 1)

    @property
    def config(self) -> CycleGanConfig:
        preset = families.get("cyclegan").preset(self.preset)
        assert isinstance(preset, CycleGanConfig)
        return preset.with_values({"full_every": 1, "pool": 5, **self.settings})

    def build(self, shape: Shape) -> tuple[CycleTask, Batch]:
        size = (self.config.batch_size, 1, *shape)
        batch = {name: torch.zeros(size) for name in ("t1", "t2", "mask")}
        batch["paired"] = torch.ones(size[0])
        return cycle_task(self.config, TrainingSamples(shape, has_pairs=True)), batch


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--case", help="JSON of a case, to be measured in this process")
    chosen = parser.parse_args()
    if chosen.case:
        values = json.loads(chosen.case)
        print(measure(Case(**{**values, "shape": tuple(values["shape"])})))
        return
    rows = [row(setting, case) for setting, case in (published() if chosen.published else quick())]
    found = {"machine": machine(), "threads": torch.get_num_threads(), "rows": rows}
    write(
        "cyclegan_memory_published" if chosen.published else "cyclegan_memory", found, report(found)
    )


def quick() -> Iterator[tuple[str, Case]]:
    for shape, (setting, (precision, checkpointing)) in product(SHAPES, SETTINGS.items()):
        settings = {"checkpointing": checkpointing}
        steps = (0, 1) if prod(shape) < FEW_VOXELS else (0,)
        yield setting, Case("quick", shape, precision, settings, steps=steps)


def published() -> Iterator[tuple[str, Case]]:
    settings = {"blocks": 9, "checkpointing": True}
    setting = "`published` with 9 blocks, bfloat16, checkpointing"
    # Not the first step: it also teaches identity, which needs less memory than the rest, and time.
    yield setting, Case("published", (156, 188, 156), "bf16-mixed", settings, steps=(1,))


def row(setting: str, case: Case) -> dict[str, Any]:
    """Predict, then measure in other processes."""
    cost = measure_step(partial(case.build, case.shape), case.precision)
    values = {
        "shape": " x ".join(map(str, case.shape)),
        "setting": setting,
        "predicted_mib": cost.memory_bytes / MIB,
        "measured_mib": elsewhere(case) / MIB,
        "flops": cost.flops,
    }
    if len(case.steps) > 1:
        values["left_to_malloc_mib"] = elsewhere(case, gives_back=False) / MIB
    print(values, flush=True)
    return values


def elsewhere(case: Case, *, gives_back: bool = True) -> int:
    order = json.dumps({**asdict(case), "gives_back": gives_back})
    command = [sys.executable, __file__, "--case", order]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def measure(case: Case) -> int:
    if case.gives_back:
        set_malloc_threshold(0)
    return peak_bytes(partial(take_steps, case), case.shape)


def peak_bytes(work: Callable[[Shape], object], shape: Shape) -> int:
    """Return the bytes at the peak of some work, above those before; it is first done on little."""
    work(TINY)
    release_memory()
    Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew.
    before = status("VmRSS")
    work(shape)
    return status("VmHWM") - before


def take_steps(case: Case, shape: Shape) -> None:
    task, batch = case.build(shape)
    batch = {name: torch.rand_like(t) if t.ndim == 5 else t for name, t in batch.items()}
    average = WeightAverage({name: task.networks[name] for name in task.shipped}, 0.99)
    for network in (*task.networks.values(), *average.networks.values()):
        lay_out(network, case.precision)
    for step in case.steps:
        task.step(batch, step, Draws((0, step)))
        average.update(step + 1)


def status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def report(found: Mapping[str, Any]) -> str:
    rows = found["rows"]
    ratios = [row["predicted_mib"] / row["measured_mib"] for row in rows]
    table = grid(
        [
            ("shape", "setting", "predicted, MiB", "measured, MiB", "ratio", "left to malloc, MiB"),
            *(
                (
                    row["shape"],
                    row["setting"],
                    f"{row['predicted_mib']:,.0f}",
                    f"{row['measured_mib']:,.0f}",
                    f"{ratio:.2f}",
                    f"{row['left_to_malloc_mib']:,.0f}" if "left_to_malloc_mib" in row else "",
                )
                for row, ratio in zip(rows, ratios, strict=True)
            ),
        ]
    )
    here = found["machine"]
    return (
        "# Memory of a training step of cyclegan\n\n"
        "`quick` where no other is named, full steps, batch 1, an image pool of 5; "
        f"{here['processor']}, {found['threads']} threads, torch {here['torch']}. Made by "
        "`benchmarks/cyclegan_memory.py`, which says how.\n\n"
        f"Predicted is {min(ratios):.2f} to {max(ratios):.2f} times what was measured.\n\n{table}\n"
    )


if __name__ == "__main__":
    main()
