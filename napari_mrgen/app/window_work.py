"""What the window does in its worker's thread: it trains, generates and reads files.

PyTorch is imported where it is first needed.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mrgen import families
from napari_mrgen.app.inputs import gather
from napari_mrgen.app.saved_inputs import save_sources
from napari_mrgen.app.session import Request, ResumeRequest, Sources, TrainRequest
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
    from napari_mrgen.app.generate import VolumeGenerator
    from napari_mrgen.app.result_folder import ScanResult


@dataclass(frozen=True)
class Preview(Event):
    """The volumes of a ``Previewed`` event, read here so that the window need not."""

    step: int
    volumes: tuple[Volume, ...]


@dataclass(frozen=True)
class SampleCount:
    """Number of samples that have been generated."""

    count: int


def run_events(request: Request, control: Control) -> Iterator[Event]:
    """Yield the events of a training; an exception becomes a `Failed` event, the last one."""
    try:
        run_dir = request.run_dir
        if isinstance(request, ResumeRequest):
            source = _resume(request, control)
        else:
            source = _train(request, control)
        for event in _without_long_collections(source):
            yield event
            if isinstance(event, events.Previewed):
                yield _read_preview(run_dir, event)
    except MrgenError as error:
        yield events.Failed(str(error))
    except Exception as error:  # noqa: BLE001 - shown to the user, with its traceback
        yield failure_of(error)


def _without_long_collections(source: Iterator[Event]) -> Iterator[Event]:
    """Exempt the objects that exist when the run starts from garbage collection, until it ends.

    A full collection stops the window too: for a quarter of a second once PyTorch is loaded, and
    the first step loads more of it.
    """
    seen_kinds: set[type[Event]] = set()
    try:
        for event in source:
            if isinstance(event, events.Started | events.Stepped) and type(event) not in seen_kinds:
                gc.freeze()
            seen_kinds.add(type(event))
            yield event
    finally:
        gc.unfreeze()


def failure_of(error: BaseException) -> events.Failed:
    """Describe an exception in one sentence; its traceback is for a report."""
    if isinstance(error, MrgenError):
        return events.Failed(str(error))
    kind = type(error).__name__
    text = str(error).strip().splitlines()
    return events.Failed(
        f"Something went wrong that should not: {text[0] if text else kind}",
        advice="Press Copy diagnostics and report it, with what you did.",
        details="".join(traceback.format_exception(error)),
    )


def _train(request: TrainRequest, control: Control) -> Iterator[Event]:
    yield events.Progress("Loading PyTorch and the scans…")
    from napari_mrgen.engine.fit import fit

    paths = save_sources(request.sources, request.run_dir / "inputs")
    inputs = gather(request.family, paths, request.config)
    yield from fit(
        request.family, request.config, inputs, request.run_dir, control,
        device=request.device, precision=request.precision,
    )  # fmt: skip


def _resume(request: ResumeRequest, control: Control) -> Iterator[Event]:
    yield events.Progress("Loading PyTorch and the saved run…")
    from napari_mrgen.engine.fit import resume

    yield from resume(request.run_dir, families.get, control, device=request.device)


def _read_preview(run_dir: Path, event: events.Previewed) -> Preview:
    from napari_mrgen.engine.run.folder import read_preview

    return Preview(event.step, tuple(read_preview(run_dir, event)))


def preview_data(
    family: Family, config: TrainConfig, sources: Sources, folder: Path, control: Control
) -> Iterator[Progress | Survey | DataPreview]:
    """Yield the survey of the scans, where the family has one, then what the networks are given.

    Progress comes between them; a stop ends it there.
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
    """Yield the newest preview that a run has kept, if there is one."""
    from napari_mrgen.engine.run.folder import Run

    previewed = [event for event in Run(run_dir).history if isinstance(event, events.Previewed)]
    if previewed and all((run_dir / path).exists() for path in previewed[-1].paths):
        yield _read_preview(run_dir, previewed[-1])


def replay_previews(run_dir: Path) -> Iterator[Volume]:
    """Yield the previews of a run as a movie."""
    from napari_mrgen.app.info import replay

    yield replay(run_dir)


def generate_results(
    open_generator: Callable[[], VolumeGenerator],
    sources: Mapping[str, Path | Volume],
    config: GenerateConfig,
    control: Control,
) -> Iterator[Volume | SampleCount]:
    """Yield the results of a trained model; blocks of samples are collected into one volume.

    Parameters
    ----------
    open_generator
        Loads the model, here or at a service; called in the worker's thread.
    """
    from napari_mrgen.app.generate import collect

    blocks: list[Volume] = []
    for result in open_generator().generate(sources, config, control):
        if result.samples is not None:
            blocks.append(result)
            yield SampleCount(sum(block.size("n") for block in blocks))
        else:
            yield result
    yield from collect(blocks)


def generate_into_folder(
    open_generator: Callable[[], VolumeGenerator],
    paths: Mapping[str, Path],
    out: Path,
    config: GenerateConfig,
    control: Control,
) -> Iterator[ScanResult]:
    """Generate from every scan of a folder and write into another; yield the result of each."""
    from napari_mrgen.app.cases import find_cases
    from napari_mrgen.app.result_folder import ResultFolder, generate_folder

    generator = open_generator()
    cases = find_cases(generator.family.generate_inputs, paths, out)
    folder = ResultFolder(out, generator.record(config))
    yield from generate_folder(generator, cases, config, folder, control)


def plan_arguments(
    request: TrainRequest, paths: Mapping[str, list[Path]], config_file: Path
) -> list[str]:
    """Return the command line that plans a training in a process of its own."""
    config_file.write_text(request.config.to_yaml(), encoding="utf-8")
    inputs: list[Any] = [
        part
        for role, role_paths in paths.items()
        for path in role_paths
        for part in ("--input", f"{role}={path}")
    ]
    return [
        *("train", request.family.name, "--config", str(config_file), *inputs),
        *(
            "--device",
            request.device,
            "--precision",
            request.precision,
            "--plan",
            "--unread",
            "--json",
        ),
    ]
