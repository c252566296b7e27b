"""Jobs: what is done in the worker's thread. No Qt, no napari; torch is imported on the way."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mrgen import families
from napari_mrgen.app.inputs import gather
from napari_mrgen.app.saved_inputs import save_sources
from napari_mrgen.app.session import Job, ResumeJob, Sources, TrainJob
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import (
    DataPreview,
    Family,
    GenerateConfig,
    Survey,
    SurveysData,
    TrainConfig,
)
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.errors import MrgenError
from napari_mrgen.volume import Volume

if TYPE_CHECKING:
    from napari_mrgen.app.result_folder import ScanResult


@dataclass(frozen=True)
class Preview(Event):
    """The volumes of a ``Previewed`` event, read here so that the window need not."""

    step: int
    volumes: tuple[Volume, ...]


@dataclass(frozen=True)
class Drawn:
    """How many samples there are by now."""

    count: int


def run_events(job: Job, control: Control) -> Iterator[Event]:
    """Yield the events of a training; whatever goes wrong, the last one says so."""
    try:
        run_dir = job.run_dir
        source = _resume(job, control) if isinstance(job, ResumeJob) else _train(job, control)
        for event in _without_long_collections(source):
            yield event
            if isinstance(event, events.Previewed):
                yield _read_preview(run_dir, event)
    except MrgenError as error:
        yield events.Failed(str(error))
    except Exception as error:  # noqa: BLE001 - shown to the user, with its traceback
        yield failed(error)


def _without_long_collections(source: Iterator[Event]) -> Iterator[Event]:
    """Let the garbage collector pass over what there is when the run starts, until it ends.

    The collector stops the window too while it looks through all objects there are: for a quarter
    of a second once PyTorch is loaded, of which the first step brings more.
    """
    seen: set[type[Event]] = set()
    try:
        for event in source:
            if isinstance(event, events.Started | events.Stepped) and type(event) not in seen:
                gc.freeze()
            seen.add(type(event))
            yield event
    finally:
        gc.unfreeze()


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
    yield events.Progress("Loading PyTorch and the scans…")
    from napari_mrgen.engine.fit import fit

    paths = save_sources(job.sources, job.run_dir / "inputs")
    inputs = gather(job.family, paths, job.config)
    yield from fit(
        job.family, job.config, inputs, job.run_dir, control,
        device=job.device, precision=job.precision,
    )  # fmt: skip


def _resume(job: ResumeJob, control: Control) -> Iterator[Event]:
    yield events.Progress("Loading PyTorch and the saved run…")
    from napari_mrgen.engine.fit import resume

    yield from resume(job.run_dir, families.get, control, device=job.device)


def _read_preview(run_dir: Path, event: events.Previewed) -> Preview:
    from napari_mrgen.engine.run.folder import read_preview

    return Preview(event.step, tuple(read_preview(run_dir, event)))


def look_at_data(
    family: Family, config: TrainConfig, sources: Sources, folder: Path, control: Control
) -> Iterator[Progress | Survey | DataPreview]:
    """Yield how the scans lie, where that matters, then what the networks will be fed.

    Between them comes how far it is, and there it ends where a stop was asked for.
    """
    yield Progress("Reading the scans", 0, 0)
    paths = save_sources(sources, folder, suffix=".nii")
    inputs = gather(family, paths, config)
    survey = family.survey(config, inputs) if isinstance(family, SurveysData) else ()
    for item in chain(survey, family.preview_data(config, inputs)):
        if control.is_stopped:
            return
        yield item


def last_preview(run_dir: Path) -> Iterator[Preview]:
    """Yield the newest preview of a run that is kept; nothing where there is none."""
    from napari_mrgen.engine.run.folder import Run

    shown = [event for event in Run(run_dir).history if isinstance(event, events.Previewed)]
    if shown and all((run_dir / path).exists() for path in shown[-1].paths):
        yield _read_preview(run_dir, shown[-1])


def replayed(run_dir: Path) -> Iterator[Volume]:
    """Yield the previews of a run as a movie."""
    from napari_mrgen.app.info import replay

    yield replay(run_dir)


def generated(
    model: Path,
    sources: Mapping[str, Path | Volume],
    config: GenerateConfig,
    device: str,
    control: Control,
) -> Iterator[Volume | Drawn]:
    """Yield the results of a trained model; samples that come in blocks as one, at the end."""
    from napari_mrgen.app.generate import collect
    from napari_mrgen.service.client import generator_for

    blocks: list[Volume] = []
    for result in generator_for(model, device).generate(sources, config, control):
        if result.samples is not None:
            blocks.append(result)
            yield Drawn(sum(block.size("n") for block in blocks))
        else:
            yield result
    yield from collect(blocks)


def folder_generated(
    model: Path,
    paths: Mapping[str, Path],
    out: Path,
    config: GenerateConfig,
    device: str,
    control: Control,
) -> Iterator[ScanResult]:
    """Yield what came of each scan of a folder, whose results are written to another."""
    from napari_mrgen.app.cases import find_cases
    from napari_mrgen.app.result_folder import ResultFolder, generate_folder
    from napari_mrgen.service.client import generator_for

    generator = generator_for(model, device)
    cases = find_cases(generator.family.generate_inputs, paths, out)
    folder = ResultFolder(out, generator.record(config))
    yield from generate_folder(generator, cases, config, folder, control)


def plan_arguments(job: TrainJob, paths: Mapping[str, list[Path]], config_file: Path) -> list[str]:
    """Return the command line that plans a training in a process of its own."""
    config_file.write_text(job.config.to_yaml(), encoding="utf-8")
    inputs: list[Any] = [
        part
        for role, given in paths.items()
        for path in given
        for part in ("--input", f"{role}={path}")
    ]
    return [
        *("train", job.family.name, "--config", str(config_file), *inputs),
        *("--device", job.device, "--precision", job.precision, "--plan", "--unread", "--json"),
    ]
