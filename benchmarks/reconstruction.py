"""How well real-time scans are reconstructed: quick, zero-filled alone, gridding, temporal TV.

    python benchmarks/reconstruction.py RUNS [--data FOLDER] [--tuning N] [--subjects N]

Trains ``quick`` on 18 patients of the derived Sunnybrook cines, and the same network on the
zero-filled series alone; scores both on the other 8, on scans of 13 tiny-golden-angle spokes a
frame, beside gridding and a converged temporal total variation, whose weight is tuned on training
patients. Of each patient the middle slice is scored. Finished trainings under RUNS are used again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from common import DATA, grid, machine, train, write
from frame_prediction import sunnybrook
from torch import Tensor

from napari_mrgen import families
from napari_mrgen.data.cine import load
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.realtime import VIEW_SHARED
from napari_mrgen.data.undersampled import NetworkInputs, ScanSpec
from napari_mrgen.engine.device import devices
from napari_mrgen.engine.run.model import load_model
from napari_mrgen.families.reconstruction.networks import normal_operator
from napari_mrgen.families.reconstruction.scoring import (
    Method,
    held_out_slices,
    scanned_frames,
    scanned_slices,
    score_subject,
    scored_frames,
    trained_channels,
)
from napari_mrgen.families.reconstruction.tasks import reconstruct_slice, series_metrics
from napari_mrgen.families.reconstruction.training import scan_spec
from napari_mrgen.metrics.scoreboard import Score, Scoreboard, tabulate

FAMILY = families.get("reconstruction")
WEIGHTS = (0.02, 0.03, 0.05, 0.08, 0.15)
"""Of total variation, as shares of the intensity range."""
MOST, CONVERGED = 2000, 2e-4
"""Iterations at most, and the relative change of an iteration at which they end."""
CPU = torch.device("cpu")
LARGE = (20, 192)
"""Frames and pixels a side of the series that is timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder for the trained models")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--tuning", type=int, default=2, help="training patients to tune TV on")
    parser.add_argument("--subjects", type=int, default=8, help="held-out patients to score")
    chosen = parser.parse_args()
    inputs, quick = sunnybrook(chosen.data), FAMILY.preset("quick")
    alone = quick.with_values({"inputs": "zero-filled"})
    seconds = {
        "quick": train(FAMILY, quick, inputs, chosen.runs / "quick"),
        "zero-filled": train(FAMILY, alone, inputs, chosen.runs / "zero-filled"),
    }
    spec = replace(scan_spec(quick), view_sharing=True)  # type: ignore[arg-type]
    weight, tried = tune(inputs, spec, chosen.tuning)
    clock: dict[str, list[float]] = {}
    iterations: list[int] = []

    def solved(inputs: NetworkInputs) -> Tensor:
        solution = total_variation(inputs, weight)
        iterations.append(solution.iterations)
        return solution.series

    methods = {
        "quick": timed("quick", model(chosen.runs / "quick"), clock),
        "zero-filled input alone": timed("alone", model(chosen.runs / "zero-filled"), clock),
        "temporal TV": timed("temporal TV", solved, clock),
    }
    every = list(held_out_slices(quick, inputs))[: chosen.subjects]  # type: ignore[arg-type]
    cases = [(subject, middle(slices)) for subject, slices in every]
    results = {
        "machine": machine(),
        "training_seconds": seconds,
        "TV weight": weight,
        "TV iterations": iterations,
        "TV PSNR by weight, training patients": tried,
        "scoreboard": rows(tabulate(scores(cases, methods))),
        "seconds a slice": {name: fmean(times) for name, times in clock.items()},
        "seconds for 20 frames of 192 x 192": {
            device.title: large(chosen.runs / "quick", spec, torch.device(device.name))
            for device in devices()
        },
    }
    write("reconstruction", results, markdown(results))


def scores(
    cases: Sequence[tuple[str, list[tuple[NetworkInputs, Tensor]]]], methods: dict[str, Method]
) -> Iterator[Score]:
    for subject, slices in cases:
        print("scoring", subject, flush=True)
        yield from score_subject(subject, slices, methods)


def model(run: Path, device: torch.device = CPU) -> Method:
    """Return a trained model as a method: the last one, which no held-out patient has chosen."""
    loaded = load_model(run / "model-last.safetensors", families.get)
    network, config = loaded.networks["reconstructor"].to(device), loaded.config

    def method(inputs: NetworkInputs) -> Tensor:
        return reconstruct_slice(
            network, replace(inputs, channels=trained_channels(inputs, config))
        )

    return method


def timed(name: str, method: Method, clock: dict[str, list[float]]) -> Method:
    def run(inputs: NetworkInputs) -> Tensor:
        began = time.perf_counter()
        series = method(inputs)
        clock.setdefault(name, []).append(time.perf_counter() - began)
        return series

    return run


# ---- temporal total variation -------------------------------------------------------------------


@dataclass(frozen=True)
class Solved:
    series: Tensor
    """``(t, y, x)``."""
    iterations: int
    change: float
    """Of the last iteration, relative."""


def total_variation(inputs: NetworkInputs, weight: float) -> Solved:
    """Minimise ``1/2 |A x - y|_W^2 + weight * |D x|_1`` over real series, D from frame to frame.

    The smooth phase is a part of the maps, as for the network. By the primal-dual algorithm of
    Condat and Vu (Condat, J Optim Theory Appl 158:460, 2013), started from the view-shared series,
    until an iteration changes less than `CONVERGED`.
    """
    maps, kernel = inputs.operator["maps"], inputs.operator["kernel"]
    zero_filled, x = inputs.channels[0], inputs.channels[VIEW_SHARED]
    dual = torch.zeros_like(x[1:])
    size = greatest(maps, kernel, x)
    sigma = size / 8
    tau = 1 / (size / 2 + 4 * sigma)  # The condition of convergence; 4 is the norm of D^H D.
    for iteration in range(1, MOST + 1):
        moved = x - tau * (normal(x, maps, kernel) - zero_filled + divergence(dual))
        step = 2 * moved - x
        dual = (dual + sigma * (step[1:] - step[:-1])).clamp(-weight, weight)
        change = float((moved - x).norm() / x.norm())
        x = moved
        if change < CONVERGED:
            return Solved(x.clamp(min=0) * inputs.scale, iteration, change)
    raise SystemExit(f"Total variation has not converged in {MOST} iterations: {change:.2g}.")


def normal(x: Tensor, maps: Tensor, kernel: Tensor) -> Tensor:
    return normal_operator(x[None, None], maps[None], kernel[None])[0, 0]


def divergence(dual: Tensor) -> Tensor:
    """Return the adjoint of the difference from frame to frame: ``(t - 1, y, x)`` to ``t``."""
    none = torch.zeros_like(dual[:1])
    return torch.cat([none, dual]) - torch.cat([dual, none])


def greatest(maps: Tensor, kernel: Tensor, like: Tensor, rounds: int = 10) -> float:
    """Return the norm of the normal operator, by power iteration."""
    x = torch.randn(like.shape, generator=torch.Generator().manual_seed(0))
    size = 1.0
    for _ in range(rounds):
        x = normal(x / x.norm(), maps, kernel)
        size = float(x.norm())
    return 1.05 * size


def tune(inputs: Inputs, spec: ScanSpec, subjects: int) -> tuple[float, dict[float, float]]:
    """Return the weight with the best PSNR on middle slices of training patients, and all tried."""
    slices = []
    for reference in inputs.train("cine")[:: len(inputs.train("cine")) // subjects][:subjects]:
        slices += middle(
            scanned_slices(reference.subject, scanned_frames(load(reference.read())), spec, 0)
        )

    def quality(weight: float) -> float:
        pairs = [(total_variation(one, weight).series, truth) for one, truth in slices]
        metric = fmean(
            series_metrics(scored_frames(series), scored_frames(truth))["PSNR"]
            for series, truth in pairs
        )
        print(f"TV weight {weight:.3g}: {metric:.2f} dB", flush=True)
        return metric

    tried = {weight: quality(weight) for weight in WEIGHTS}
    best = max(tried, key=lambda weight: tried[weight])
    if best in (WEIGHTS[0], WEIGHTS[-1]):
        raise SystemExit(f"The best weight {best} is at the edge of those tried: {tried}.")
    return best, tried


def middle(slices: Sequence[tuple[NetworkInputs, Tensor]]) -> list[tuple[NetworkInputs, Tensor]]:
    """Keep one slice: total variation takes minutes for each."""
    return list(slices[len(slices) // 2 :][:1])


# ---- tables -------------------------------------------------------------------------------------


def large(run: Path, spec: ScanSpec, device: torch.device) -> float:
    """Return the least time of three for a scan of `LARGE`: gridding, maps, kernel and network."""
    from napari_mrgen.data.realtime import random_maps, scan
    from napari_mrgen.data.undersampled import inputs_of_samples

    frames, size = LARGE
    g = torch.Generator().manual_seed(0)
    images = torch.rand(frames, size, size, generator=g)
    maps = random_maps(spec.coils, (size, size), g)
    samples = scan(images, spec.protocol, maps, 0.01, g)
    method, times = model(run, device), []
    for _ in range(3):
        began = time.perf_counter()
        method(inputs_of_samples(samples.to(device), view_sharing=True, with_operator=True))
        times.append(time.perf_counter() - began)
    return min(times)


def rows(board: Scoreboard) -> dict[str, Any]:
    return {row.method: {"mean": row.mean, "spread": row.spread} for row in board.rows}


def markdown(results: dict[str, Any]) -> str:
    board = results["scoreboard"]
    table = [["method", "PSNR (dB)", "SSIM", "NRMSE", "gain over view sharing (dB)"]]
    base = board["view sharing 9"]["mean"]["PSNR"]
    for name, row in board.items():
        mean, spread = row["mean"], row["spread"]
        table.append([
            name,
            f"{mean['PSNR']:.2f} ± {spread['PSNR']:.2f}",
            f"{mean['SSIM']:.3f} ± {spread['SSIM']:.3f}",
            f"{mean['NRMSE']:.3f}",
            f"{mean['PSNR'] - base:+.2f}",
        ])  # fmt: skip
    times = ", ".join(f"{n} {s:.2f} s" for n, s in results["seconds a slice"].items())
    trained = ", ".join(
        f"{name} {sum(spent.values()):.0f} s" for name, spent in results["training_seconds"].items()
    )
    large_times = ", ".join(
        f"{s:.2f} s on {name}" for name, s in results["seconds for 20 frames of 192 x 192"].items()
    )
    weights = ", ".join(
        f"{float(weight):.3g} {value:.2f} dB"
        for weight, value in results["TV PSNR by weight, training patients"].items()
    )
    return "\n\n".join([
        "# Real-time cine reconstruction",
        "13 tiny-golden-angle spokes a frame, 128 x 128, derived Sunnybrook cines, patients split. "
        f"On {results['machine']['cores']} cores of {results['machine']['processor']}.",
        grid(table),
        f"Training: {trained}. A slice takes: {times}. 20 frames of 192 x 192, gridding and "
        f"network together: {large_times}.",
        f"TV converges in {min(results['TV iterations'])} to {max(results['TV iterations'])} "
        f"iterations; its weight by training patients: {weights}.",
    ]) + "\n"  # fmt: skip


if __name__ == "__main__":
    main()
