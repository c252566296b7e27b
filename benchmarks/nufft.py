"""How long the NUFFT and its normal operator take: here, in finufft itself, in torchkbnufft.

    python benchmarks/nufft.py [--coils N] [--threads N]

20 frames of 192 x 192 pixels, 13 spokes of 384 samples each, in single precision. The libraries
take turns and processor time is counted, so that what else runs does not count. torchkbnufft's
tables are built before the clock starts; this project and finufft build their plans in each call,
since the trajectory of a real-time scan changes from frame to frame.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import finufft
import torch
from common import RESULTS, machine
from torch import Tensor

from napari_mrgen.mri import nufft
from napari_mrgen.mri.gridding import radial_weights
from napari_mrgen.mri.trajectories import radial

FRAMES, SIZE, SPOKES = 20, 192, 13
SHAPE = (SIZE, SIZE)
OURS, DIRECT, DIRECT_DEFAULT, PEER = (
    "napari-mrgen", "finufft, same settings", "finufft, its defaults", "torchkbnufft",
)  # fmt: skip
RUNS = 5

Call = Callable[[], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--coils", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report = {
        "machine": machine(),
        "coils": arguments.coils,
        "threads": arguments.threads,
        "runs": arguments.runs,
        "rows": measure(arguments.coils, arguments.threads, arguments.runs),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "nufft.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    (RESULTS / "nufft.md").write_text(table(report), "utf-8")
    print(table(report))


def measure(coils: int, threads: int, runs: int) -> list[dict[str, Any]]:
    """Time every way to compute each operator, and tell its error against double precision."""
    generator = torch.Generator().manual_seed(0)
    trajectory = radial(FRAMES, SPOKES, 2 * SIZE, angle="tiny golden")
    series = torch.randn(FRAMES, coils, *SHAPE, dtype=torch.complex64, generator=generator)
    samples = nufft.forward(series, trajectory)
    weights = radial_weights(trajectory)
    double = trajectory.double()
    exact = {
        "forward": nufft.forward(series.to(torch.complex128), double),
        "adjoint": nufft.adjoint(samples.to(torch.complex128), double, SHAPE),
    }
    weighted = exact["forward"] * weights.double()[:, None]
    exact["normal"] = nufft.adjoint(weighted, double, SHAPE)
    rows = []
    for operator, calls in operators(series, samples, trajectory, weights, threads).items():
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        outputs = {name: call() for name, call in calls.items()}
        for _ in range(runs):
            for name, call in calls.items():
                seconds[name].append(_processor_seconds(call))
        base = statistics.median(seconds[DIRECT])
        for name, spent in seconds.items():
            error = (outputs[name] - exact[operator]).norm() / exact[operator].norm()
            median = statistics.median(spent)
            rows.append(
                {
                    "operator": operator,
                    "by": name,
                    "ms_per_frame": 1000 * median / FRAMES,
                    "ratio": median / base,
                    "error": float(error),
                }
            )
    return rows


def operators(
    series: Tensor, samples: Tensor, trajectory: Tensor, weights: Tensor, threads: int
) -> dict[str, dict[str, Call]]:
    """Return the calls to time, by operator and library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchkbnufft import KbNufft, KbNufftAdjoint
    there, back = KbNufft(im_size=SHAPE), KbNufftAdjoint(im_size=SHAPE)
    places = trajectory.mT.contiguous()
    ours = nufft._SETTINGS[torch.complex64]
    same = partial(direct, trajectory, threads, **ours)
    default = partial(direct, trajectory, threads, eps=1e-6)
    kernel = nufft.toeplitz_kernel(trajectory, weights, SHAPE)
    return {
        "forward": {
            OURS: lambda: nufft.forward(series, trajectory),
            DIRECT: lambda: same(series, 2),
            DIRECT_DEFAULT: lambda: default(series, 2),
            PEER: lambda: there(series, places),
        },
        "adjoint": {
            OURS: lambda: nufft.adjoint(samples, trajectory, SHAPE),
            DIRECT: lambda: same(samples, 1),
            DIRECT_DEFAULT: lambda: default(samples, 1),
            PEER: lambda: back(samples, places),
        },
        "normal": {
            OURS: lambda: nufft.normal(series, kernel),
            DIRECT: lambda: same(same(series, 2) * weights[:, None], 1),
            DIRECT_DEFAULT: lambda: default(default(series, 2) * weights[:, None], 1),
            PEER: lambda: back(there(series, places) * weights[:, None], places),
        },
    }


def direct(
    trajectory: Tensor, threads: int, values: Tensor, kind: int, **settings: float
) -> Tensor:
    """Call finufft's simple interface frame by frame."""
    outputs = []
    for places, frame in zip(trajectory, values, strict=True):
        y, x = places.T.contiguous().numpy()
        options = {"nthreads": threads, **settings}
        if kind == 2:
            out = finufft.nufft2d2(y, x, frame.numpy(), isign=-1, **options)
        else:
            out = finufft.nufft2d1(y, x, frame.numpy(), SHAPE, isign=1, **options)
        outputs.append(torch.from_numpy(out).view(len(frame), *out.shape[-(3 - kind) :]))
    return torch.stack(outputs)


def _processor_seconds(call: Call) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def table(report: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    where = report["machine"]
    coils = "1 coil" if report["coils"] == 1 else f"{report['coils']} coils"
    threads = "1 thread" if report["threads"] == 1 else f"{report['threads']} threads"
    lines = [
        "# The NUFFT and its normal operator",
        "",
        f"{FRAMES} frames of {SIZE} x {SIZE}, {SPOKES} spokes of {2 * SIZE} samples, {coils}, "
        f"single precision; median of {report['runs']}",
        f"runs of processor time, {threads}; {where['processor']}, torch "
        f"{where['torch']}. Made by `benchmarks/nufft.py`.",
        "The normal operator of this project is one multiplication in k-space (Toeplitz), the",
        "others' is forward and adjoint. Errors are against double precision.",
        "",
        "| operator | by | ms a frame | times finufft | error |",
        "|---|---|---:|---:|---:|",
    ]
    lines += [
        f"| {row['operator']} | {row['by']} | {row['ms_per_frame']:.2f} | {row['ratio']:.2f} | "
        f"{row['error']:.1e} |"
        for row in report["rows"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
