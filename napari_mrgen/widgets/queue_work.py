"""What the queue's worker does, in its thread. No Qt, no napari; torch is imported on the way."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

from napari_mrgen.app.jobs.file import Job, nearest_preset
from napari_mrgen.app.jobs.notify import Notices
from napari_mrgen.app.jobs.run import JobProgress, Report, run_jobs
from napari_mrgen.app.saved_inputs import save_sources
from napari_mrgen.app.session import TrainJob
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.run import events
from napari_mrgen.service.extras import export_model


def queued(job: TrainJob, *, predicts: bool) -> Iterator[Job]:
    """Keep the layers of a training as files, and yield it as a job that can wait."""
    paths = save_sources(job.sources, job.run_dir / "inputs")
    preset, settings = nearest_preset(job.family, job.config)
    yield Job(
        name=job.run_dir.name,
        task="train_and_predict" if predicts else "train",
        family=job.family.name,
        preset=preset,
        settings=settings,
        inputs={role: tuple(given) for role, given in paths.items()},
        out=job.run_dir,
        device=job.device,
        precision=job.precision,
    )


def reports(
    take: Callable[[], Job | None], notices: Notices | None, control: Control
) -> Iterator[Report]:
    """Yield what the jobs say that ``take`` hands out, one after the other."""
    try:
        frozen: set[type] = set()
        for report in run_jobs(iter(take, None), control, notices=notices, export=export_model):
            kind = type(report.event) if isinstance(report, JobProgress) else type(report)
            # The garbage collector stops the window for long once PyTorch is there: see `jobs`.
            if kind in (events.Started, events.Stepped) and kind not in frozen:
                gc.freeze()
                frozen.add(kind)
            yield report
    finally:
        gc.unfreeze()
