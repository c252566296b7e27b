"""The published table made again: three networks by five losses, and by seven regularisers.

    python benchmarks/reconstruction_table.py RUNS [--data FOLDER]

Does the jobs of ``reconstruction.yaml`` under RUNS, one after the other; those that are finished
are not done again. Leaves one table and one figure of all of them, on held-out patients.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from common import DATA, HERE, RESULTS, grid, machine, write

from napari_mrgen.app.jobs.file import Job, check, parse_jobs
from napari_mrgen.app.jobs.run import JobOutcome, JobStarted, run_jobs
from napari_mrgen.engine.control import Control

NETWORKS = ("unet3d", "unet2d2d", "unet2d1d")
LOSSES = ("ssim", "mse", "mae", "psnr", "bce")
REGULARIZERS = (
    "none", "l1", "l2", "l1_l2", "batch_norm", "instance_norm", "dropout", "dropblock",
)  # fmt: skip
BEST_LOSS = "ssim"
"""The published system's; whether it is the best here, the table says."""
FIGURES = ("PSNR", "SSIM")
BESIDE = ("view sharing 9", "zero-filled")
_COLOURS, _MARKS = ("#1a73b8", "#d9730d", "#2e8b57"), "osD"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder for the jobs")
    parser.add_argument("--data", type=Path, default=DATA)
    chosen = parser.parse_args()
    jobs = jobs_of(chosen.runs, chosen.data)
    do(jobs, chosen.runs / "seconds.json")
    seconds = json.loads((chosen.runs / "seconds.json").read_text())
    rows = {job.name: metrics_of(job) for job in jobs}
    beside = trivial(jobs[0])
    results = {"machine": machine(), "seconds": seconds, "jobs": rows, "beside": beside}
    write("reconstruction_table", results, markdown(results))
    draw(rows, beside, RESULTS / "reconstruction_table.png")


def jobs_of(runs: Path, data: Path) -> tuple[Job, ...]:
    """Read the file of jobs, with the data and the folder for results put in."""
    values = yaml.safe_load((HERE / "reconstruction.yaml").read_text(encoding="utf-8"))
    values["out"] = str(runs.absolute())
    values["defaults"]["inputs"] = {"cine": str((data / "sunnybrook-cine").absolute())}
    return check(parse_jobs(values, HERE)).jobs


def do(jobs: Sequence[Job], clock: Path) -> None:
    """Do what is not done yet; note how long each job took, over all attempts."""
    clock.parent.mkdir(parents=True, exist_ok=True)
    seconds = json.loads(clock.read_text()) if clock.exists() else {}
    left = [job for job in jobs if not (job.out / "scoreboard.json").exists()]
    began = time.monotonic()
    for report in run_jobs(left, Control()):
        if isinstance(report, JobStarted):
            print(report.job.name, flush=True)
        if isinstance(report, JobOutcome):
            if report.state != "finished":
                raise SystemExit(f"{report.job.name}: {report.problem} {report.details}")
            name = report.job.name
            seconds[name] = seconds.get(name, 0) + report.seconds
            clock.write_text(json.dumps(seconds))
    print(f"{time.monotonic() - began:.0f} s", flush=True)


def scoreboard(job: Job) -> dict[str, Mapping[str, float]]:
    """Return the mean metrics of every method on a job's scoreboard."""
    rows = json.loads((job.out / "scoreboard.json").read_text(encoding="utf-8"))["rows"]
    return {row["method"]: row["mean"] for row in rows}


def metrics_of(job: Job) -> dict[str, float]:
    return {name: scoreboard(job)["model"][name] for name in FIGURES}


def trivial(job: Job) -> dict[str, dict[str, float]]:
    board = scoreboard(job)
    return {method: {name: board[method][name] for name in FIGURES} for method in BESIDE}


def job_name(network: str, loss: str, regularizer: str = "none") -> str:
    ending = "" if regularizer == "none" else f"-{regularizer.replace('_', '-')}"
    return f"{network}-{loss}{ending}"


def table(rows: Mapping[str, Any], by_loss: bool) -> str:
    """Lay out PSNR and SSIM, a line for each loss or regulariser, a column for each network."""
    body = []
    for line in LOSSES if by_loss else REGULARIZERS:
        names = [
            job_name(network, line) if by_loss else job_name(network, BEST_LOSS, line)
            for network in NETWORKS
        ]
        body.append([line, *(f"{rows[n]['PSNR']:.2f}, {rows[n]['SSIM']:.3f}" for n in names)])
    return grid([["loss" if by_loss else f"regulariser, {BEST_LOSS}", *NETWORKS], *body])


def markdown(results: Mapping[str, Any]) -> str:
    rows, total = results["jobs"], sum(results["seconds"].values())
    beside = "; ".join(
        f"{name} {values['PSNR']:.2f}, {values['SSIM']:.3f}"
        for name, values in results["beside"].items()
    )
    return "\n\n".join([
        "# The published networks, losses and regularisers",
        "PSNR in dB and SSIM of held-out patients; a quarter of the published width, 200 steps "
        "each, zero-filled magnitude of 13 tiny-golden-angle spokes a frame. On "
        f"{results['machine']['threads']} of {results['machine']['cores']} cores of "
        f"{results['machine']['processor']}, "
        f"{len(rows)} jobs in {total / 60:.0f} minutes.",
        table(rows, by_loss=True),
        table(rows, by_loss=False),
        f"Without any training: {beside}.",
        "![The same as a figure](reconstruction_table.png)",
    ]) + "\n"  # fmt: skip


def draw(
    rows: Mapping[str, Mapping[str, float]], beside: Mapping[str, Mapping[str, float]], path: Path
) -> None:
    """Draw PSNR above and SSIM below: losses to the left, regularisers to the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid_of_axes: Any = figure.subplots(2, 2, sharey="row", width_ratios=(5, 8))
    for axes_row, name in zip(grid_of_axes, FIGURES, strict=True):
        for axes, lines in zip(axes_row, (LOSSES, REGULARIZERS), strict=True):
            for k, network in enumerate(NETWORKS):
                heights = [
                    rows[job_name(network, *((x,) if lines is LOSSES else (BEST_LOSS, x)))][name]
                    for x in lines
                ]
                places = [i + (k - 1) * 0.2 for i in range(len(lines))]
                axes.plot(places, heights, _MARKS[k], color=_COLOURS[k], label=network)
            for style, (method, values) in zip(("--", ":"), beside.items(), strict=True):
                axes.axhline(values[name], color="#202124", lw=1, ls=style, label=method)
            axes.set_xticks(range(len(lines)), [x.replace("_", "\n") for x in lines])
            axes.grid(axis="y", color="#dadce0", lw=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        every = [row[name] for row in (*rows.values(), *beside.values())]
        room = 0.1 * (max(every) - min(every))
        axes_row[0].set_ylim(min(every) - room, max(every) + room)
        axes_row[0].set_ylabel("PSNR (dB)" if name == "PSNR" else name)
    grid_of_axes[0, 0].set_title("by loss", fontsize=11)
    grid_of_axes[0, 1].set_title(f"by regulariser, loss {BEST_LOSS}", fontsize=11)
    handles, labels = grid_of_axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
