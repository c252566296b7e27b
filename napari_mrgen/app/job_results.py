"""What a job leaves of its training beside the run: weights on the way, and its history."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from napari_mrgen.app.jobs.file import Job
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.folder import Run
from napari_mrgen.engine.run.pictures import read_curves
from napari_mrgen.io.files import drafted

WEIGHTS, EXPORT, PREDICTIONS, HISTORY = "weights", "export", "predictions", "history.csv"


def keep_weights(job: Job, event: Event) -> None:
    """Keep the model of every checkpoint, or as many as the job wants, spread over the training.

    The files are whole models, named by stage and step.
    """
    if not isinstance(event, events.Saved) or job.weights == 0:
        return
    folder = job.out / WEIGHTS
    folder.mkdir(exist_ok=True)
    _keep(job.out / "model.safetensors", folder / f"{event.stage}-{event.step:08d}.safetensors")
    if job.weights != "all":
        of_stage = sorted(folder.glob(f"{event.stage}-*.safetensors"))
        steps = [int(path.stem.rpartition("-")[2]) for path in of_stage]
        kept = spread(steps, job.weights)
        for path, step in zip(of_stage, steps, strict=True):
            if step not in kept:
                path.unlink()


def spread(steps: Sequence[int], count: int) -> tuple[int, ...]:
    """Return ``count`` of the ascending steps, as evenly as they can be had one by one.

    The last is always kept; of the others that one goes first whose neighbours are nearest.
    """
    kept = list(steps)
    while len(kept) > count:
        around = [0, *kept]
        gaps = [around[k + 2] - around[k] for k in range(len(kept) - 1)]
        del kept[gaps.index(min(gaps)) if gaps else 0]
    return tuple(kept)


def _keep(model: Path, path: Path) -> None:
    """Take the model file as it is: it is replaced later, never changed, so a link is enough."""
    with drafted(path) as draft:
        try:
            os.link(model, draft)
        except OSError:  # Not every disk has links.
            shutil.copyfile(model, draft)


def write_history(run_dir: Path) -> None:
    """Write all figures of a run as a table: a line for each step that told any."""
    stages = dict.fromkeys(e.stage for e in Run(run_dir).history if hasattr(e, "stage"))
    rows: list[dict[str, object]] = []
    for stage in stages:
        steps: dict[int, dict[str, object]] = {}
        for name, curve in read_curves(run_dir / "metrics.csv", stage).items():
            for step, value in curve:
                steps.setdefault(step, {"stage": stage, "step": step})[name] = value
        rows += [steps[step] for step in sorted(steps)]
    names = dict.fromkeys(name for row in rows for name in row)
    with (
        drafted(run_dir / HISTORY) as draft,
        draft.open("w", newline="", encoding="utf-8") as file,
    ):
        table = csv.DictWriter(file, names or ("stage", "step"), restval="")
        table.writeheader()
        table.writerows(rows)
