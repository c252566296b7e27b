"""Jobs: what is done in the worker's thread. No Qt, no napari; torch is imported on the way."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_mrgen import families
from napari_mrgen.app.inputs import gather
from napari_mrgen.config import Config
from napari_mrgen.engine import events
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.events import Event
from napari_mrgen.engine.family import DataLook, Family, GenerateConfig, TrainConfig
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.volume import Volume
from napari_mrgen.widgets.session import Job, ResumeJob, Sources, TrainJob


@dataclass(frozen=True)
class Preview(Event):
    """The volumes of a ``Previewed`` event, read here so that the window need not."""

    step: int
    volumes: tuple[Volume, ...]


def run_events(job: Job, control: Control) -> Iterator[Event]:
    """Yield the events of a training; whatever goes wrong, the last one says so."""
    try:
        run_dir = job.run_dir
        for event in _resume(job, control) if isinstance(job, ResumeJob) else _train(job, control):
            yield event
            if isinstance(event, events.Previewed):
                yield _read_preview(run_dir, event)
    except MrgenError as error:
        yield events.Failed(str(error))
    except Exception as error:  # noqa: BLE001 - shown to the user, with its traceback
        yield failed(error)


def failed(error: BaseException) -> events.Failed:
    """Say in one sentence what an unexpected exception was; the rest is for a report."""
    if isinstance(error, MrgenError):
        return events.Failed(str(error))
    kind = type(error).__name__
    text = str(error).strip().splitlines()
    return events.Failed(
        f"Something went wrong that should not: {text[0] if text else kind}",
        advice="Press Copy diagnostics and report it, with what you did.",
        details="".join(traceback.format_exception(error)),
    )


def _train(job: TrainJob, control: Control) -> Iterator[Event]:
    yield events.Progressed("Loading PyTorch and the scans…")
    from napari_mrgen.engine.fit import fit

    paths = save_sources(job.sources, job.run_dir / "inputs")
    inputs = gather(job.family, paths, job.config)
    yield from fit(job.family, job.config, inputs, job.run_dir, control, device=job.device)


def _resume(job: ResumeJob, control: Control) -> Iterator[Event]:
    yield events.Progressed("Loading PyTorch and the saved run…")
    from napari_mrgen.engine.fit import resume

    yield from resume(job.run_dir, families.get, control, device=job.device)


def _read_preview(run_dir: Path, event: events.Previewed) -> Preview:
    from napari_mrgen.engine.runs import read_preview

    return Preview(event.step, tuple(read_preview(run_dir, event)))


def save_sources(sources: Sources, folder: Path, suffix: str = ".nii.gz") -> dict[str, list[Path]]:
    """Write what came from the viewer as NIfTI, so that a run can be resumed without it."""
    return {
        role: [
            _save(one, folder / role / f"{number:02d}_{_file_name(one)}{suffix}")
            if isinstance(one, Volume)
            else one
            for number, one in enumerate(given)
        ]
        for role, given in sources.items()
    }


def _save(volume: Volume, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nifti.write(volume, path)
    return path


def _file_name(volume: Volume) -> str:
    text = volume.subject or volume.name or "scan"
    return "".join(c if c.isalnum() else "-" for c in text).strip("-")[:40] or "scan"


def look_at_data(
    family: Family, config: TrainConfig, sources: Sources, folder: Path
) -> Iterator[DataLook]:
    """Yield what the networks will be fed."""
    paths = save_sources(sources, folder, suffix=".nii")
    yield family.look(config, gather(family, paths, config))


def generated(
    model: Path,
    sources: Mapping[str, Path | Volume],
    config: GenerateConfig,
    device: str,
    control: Control,
) -> Iterator[Volume]:
    """Yield the results of a trained model."""
    from napari_mrgen.app.predict import generate

    yield from generate(model, sources, config, device=device, control=control)


def plan_arguments(
    family: Family, config: Config, paths: Mapping[str, list[Path]], config_file: Path
) -> list[str]:
    """Return the command line that plans a training in a process of its own."""
    config_file.write_text(config.to_yaml(), encoding="utf-8")
    inputs: list[Any] = [
        part
        for role, given in paths.items()
        for path in given
        for part in ("--input", f"{role}={path}")
    ]
    return ["train", family.name, "--config", str(config_file), *inputs, "--plan", "--json"]
