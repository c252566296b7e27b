"""Translation of whole volumes by cyclegan: time, memory, and what tiles change.

    python benchmarks/cyclegan_translation.py [--threads N] [--run RUN]

Two networks translate a volume of 156 x 188 x 156 voxels, each in a process of its own: that of
`quick`, and the published one with 9 residual blocks, in float32 and in bfloat16. Beside the time
is that of matrix multiplications of as many operations in the same precision: no network is
faster. Peaks of resident memory are measured as `benchmarks/cyclegan_memory.py` does.

With the folder of a trained run, its held-out heads are also translated whole and in tiles; what is
compared is the difference of the two, in shares of the range of intensities.

Linux only, as it reads peaks under /proc.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import grid, machine, write
from cyclegan_memory import MIB, Shape, peak_bytes
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from napari_mrgen import families
from napari_mrgen.data.heads.preprocessing import PreprocessedData, preprocess_inputs
from napari_mrgen.engine.device import PRECISIONS, Precision, set_malloc_threshold
from napari_mrgen.engine.distributed import in_precision
from napari_mrgen.engine.memory.measure import measure_call
from napari_mrgen.engine.run.folder import Run
from napari_mrgen.engine.run.model import load_model
from napari_mrgen.engine.weights import put_channels_last
from napari_mrgen.families.cyclegan.config import CONTRASTS, CycleGanConfig
from napari_mrgen.families.cyclegan.networks import Direction, build_translators
from napari_mrgen.families.cyclegan.sampling import translate
from napari_mrgen.families.cyclegan.training import preprocessing_spec

SHAPE: Shape = (156, 188, 156)
NETWORKS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "`quick`": ("quick", {}),
    "`published` with 9 blocks": ("published", {"blocks": 9}),
}
TILES = (112, 96, 64)
TYPES: Mapping[Precision, torch.dtype] = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}
MATRIX = 3072
REPEATS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--run", type=Path, help="folder of a trained run, for tiles")
    parser.add_argument("--case", nargs=2, help="network and precision, to be measured here")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.case:
        print(json.dumps(measure(*chosen.case)))
        return
    found = {
        "machine": machine(),
        "threads": chosen.threads,
        "rows": [
            elsewhere(name, precision, chosen.threads)
            for name in NETWORKS
            for precision in PRECISIONS
        ],
        "tiles": list(tiles(chosen.run)) if chosen.run else [],
    }
    write("cyclegan_translation", found, report(found))


# ---- time and memory ----------------------------------------------------------------------------


def elsewhere(name: str, precision: Precision, threads: int) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(threads), "--case", name, precision]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(values, flush=True)
    return values


@torch.inference_mode()
def measure(name: str, precision: Precision) -> dict[str, Any]:
    set_malloc_threshold(0)
    function = in_precision(network(name).forward, precision)

    def call(shape: Shape) -> Tensor:
        made: Tensor = function(torch.rand(1, 1, *shape))
        return made

    peak = peak_bytes(call, SHAPE)
    volume = torch.rand(1, 1, *SHAPE)
    seconds = min(timed(lambda: function(volume)) for _ in range(REPEATS))
    with FlopCounterMode(display=False) as counter:
        function(torch.rand(1, 1, 64, 64, 64, device="cpu"))
    flops = counter.get_total_flops() * volume.numel() / 64**3
    return {
        "network": name,
        "precision": precision,
        "seconds": seconds,
        "flops": flops,
        "matrix_seconds": flops / matrix_rate(TYPES[precision]),
        "predicted_mib": measure_call(function, (1, 1, *SHAPE)) / MIB,
        "measured_mib": peak / MIB,
    }


def network(name: str) -> torch.nn.Module:
    preset, changes = NETWORKS[name]
    config = families.get("cyclegan").preset(preset).with_values(changes)
    assert isinstance(config, CycleGanConfig)
    found = build_translators(config)["t1_to_t2"].eval().requires_grad_(False)
    put_channels_last(found)  # As a model that is loaded.
    return found


def matrix_rate(dtype: torch.dtype) -> float:
    """Return the floating point operations a second of large matrix multiplications."""
    one = torch.rand(MATRIX, MATRIX).to(dtype)
    one @ one
    return 2 * MATRIX**3 / min(timed(lambda: one @ one) for _ in range(REPEATS))


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# ---- tiles --------------------------------------------------------------------------------------


def tiles(folder: Path) -> Iterator[dict[str, Any]]:
    """Compare tiles with the whole, for each held-out head and direction."""
    model, run = load_model(folder, families.get), Run(folder)
    config = model.config
    assert isinstance(config, CycleGanConfig)
    prepared = [
        item
        for item in preprocess_inputs(run.inputs, CONTRASTS, preprocessing_spec(config))
        if isinstance(item, PreprocessedData)
    ]
    for pair in prepared[-1].test:
        for direction in map(Direction, config.directions):
            values = np.array(pair.array(direction.source), np.float32)
            whole = translate(model.networks[direction.network], values, config.legal)
            for tile in TILES:
                made = translate(model.networks[direction.network], values, config.legal, tile)
                off = made - whole
                steps = [np.abs(np.diff(off, axis=axis)).max() for axis in range(3)]
                yield {
                    "head": f"{pair.name}, {direction.title}",
                    "shape": " x ".join(map(str, values.shape)),
                    "tile": tile,
                    "greatest_difference": float(np.abs(off).max()),
                    "mean_difference": float(np.abs(off).mean()),
                    "greatest_step": float(max(steps)),
                }


# ---- report -------------------------------------------------------------------------------------


def report(found: Mapping[str, Any]) -> str:
    here = found["machine"]
    times = [
        (
            row["network"],
            row["precision"],
            f"{row['seconds']:.1f}",
            f"{row['matrix_seconds']:.1f}",
            f"{row['predicted_mib']:,.0f}",
            f"{row['measured_mib']:,.0f}",
            f"{row['predicted_mib'] / row['measured_mib']:.2f}",
        )
        for row in found["rows"]
    ]
    head = (
        "network", "precision", "s", "s, as matrices",
        "predicted, MiB", "measured, MiB", "ratio",
    )  # fmt: skip
    text = (
        "# Translation of a volume by cyclegan\n\n"
        f"{' x '.join(map(str, SHAPE))} voxels; {here['processor']}, {found['threads']} threads, "
        f"torch {here['torch']}. Made by `benchmarks/cyclegan_translation.py`, which says how.\n\n"
        f"{grid([head, *times])}\n"
    )
    return text + (tile_report(found["tiles"]) if found["tiles"] else "")


def tile_report(rows: list[dict[str, Any]]) -> str:
    table = [
        (
            row["head"],
            row["shape"],
            str(row["tile"]),
            *(
                f"{100 * row[f'{name}']:.2f}"
                for name in ("mean_difference", "greatest_difference", "greatest_step")
            ),
        )
        for row in rows
    ]
    head = (
        "head", "shape", "tile", "mean difference, %",
        "greatest, %", "greatest between neighbours, %",
    )  # fmt: skip
    return (
        "\nWith trained weights, tiles beside the whole: their difference, and how much it changes "
        "from a voxel to the next, which is what a seam would be. In % of the range.\n\n"
        f"{grid([head, *table])}\n"
    )


if __name__ == "__main__":
    main()
