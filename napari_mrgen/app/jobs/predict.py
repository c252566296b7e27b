"""Use a job's model on the scans that it names, or on those that were held out.

Results are NIfTI files with a table, as `generate` writes them into a folder, so a prediction that
was cut off goes on with the next scan; ``result.h5`` and the figure are made of them at the end.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from napari_mrgen.app.cases import Case, cases_of, find_cases, folder_role
from napari_mrgen.app.generate import LocalGenerator, collect
from napari_mrgen.app.inputs import find_all
from napari_mrgen.app.jobs.file import Job
from napari_mrgen.app.jobs.run import PREDICTIONS
from napari_mrgen.app.outputs import slug
from napari_mrgen.app.result_folder import INPUTS, SUFFIX, ResultFolder, ScanResult, generate_folder
from napari_mrgen.data.heads.registration import is_same_grid
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import GenerateConfig
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.folder import Run
from napari_mrgen.engine.run.model_header import model_file
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.facts import is_own_record, sidecar_of
from napari_mrgen.io.files import drafted
from napari_mrgen.io.find import Reference, find
from napari_mrgen.io.raw_data.hdf5 import opened_hdf5
from napari_mrgen.io.subjects import subject_of
from napari_mrgen.volume import Array, Volume
from napari_mrgen.wording import printable

RESULTS = "result.h5"
TRUTH = "truth"
PARTS = ("input", "result", TRUTH)
NAMES = "_cases"
"""Ends the name of the dataset with the names of a part's cases."""
_CASES_SHOWN = 5
_INK = "#202124"


def predict(job: Job, control: Control) -> Iterator[Event | ScanResult]:
    """Make the predictions of a job; yield what came of each scan.

    Raises
    ------
    MrgenError
        If a scan has no result: after all others have theirs.
    """
    yield events.Progress("Loading the model")
    model = job.model if job.model and not job.trains else job.out
    generator = LocalGenerator.load(model, job.device)
    config = _settings(job, generator)
    folder = job.out / PREDICTIONS
    cases = _cases(job, generator, folder)
    if not cases:
        yield from _draw_samples(generator, config, folder, control)
        return
    known = _truths(job, generator, is_alone=len(cases) == 1)
    found: list[ScanResult] = []
    inputs = {role: str(path) for role, path in job.prediction.inputs.items()}
    results = ResultFolder(
        folder, {**generator.record(config), INPUTS: inputs}, remedy="remove it, to make others"
    )
    for done in generate_folder(generator, cases, config, results, control):
        found.append(done)
        yield done
    if control.is_stopped:
        return
    made = {done.scan: done.results for done in found if done.results}
    is_new = not all(done.is_kept for done in found) or not (folder / RESULTS).exists()
    if made and is_new:
        yield events.Progress("Writing result.h5")
        parts = [(case, made[case.scan]) for case in cases if case.scan in made]
        _write(folder, ((c.name, _parts(c, paths, known, config)) for c, paths in parts))
    failed = [done for done in found if done.problem]
    if failed:
        first = f"{failed[0].scan.name}: {failed[0].problem}"
        raise MrgenError(f"{len(failed)} of {len(cases)} scans have no result. {first}")


def _write(folder: Path, cases: Iterator[tuple[str, Mapping[str, Volume]]]) -> None:
    write_results(folder / RESULTS, cases)
    plot_results(folder / RESULTS, folder.parent / "figures" / "predictions.png")


def _settings(job: Job, generator: LocalGenerator) -> GenerateConfig:
    """Return the job's settings of generation; inputs are included where a model can do so."""
    kind: type[GenerateConfig] = generator.family.generate_config
    return kind.parse({**kind.for_jobs, **kind.with_current_names(job.prediction.settings)})


def _draw_samples(
    generator: LocalGenerator, config: GenerateConfig, folder: Path, control: Control
) -> Iterator[Event]:
    """Draw from a model that needs no scan, unless it has been done."""
    record = {**generator.record(config), "model": generator.model.hash}
    note = folder / "samples.json"
    text = json.dumps(record, indent=2, default=str)
    if (folder / RESULTS).exists() and note.exists() and note.read_text("utf-8") == text:
        return
    if note.exists() and not is_own_record(note):
        raise MrgenError(f"{note} was not made by this program; move it, or change `out`.")
    folder.mkdir(parents=True, exist_ok=True)
    volumes = {}
    for volume in collect(generator.generate({}, config, control)):
        name = slug(volume.name)
        nifti.write(volume, folder / f"{name}{SUFFIX}")
        volumes[name] = volume
        yield events.Progress(f"Drawn: {volume.name}")
    if volumes and not control.is_stopped:
        _write(folder, ((name, {"result": volume}) for name, volume in volumes.items()))
        note.write_text(text, "utf-8")


# ---------------------------------------------------------------- what goes in


def _cases(job: Job, generator: LocalGenerator, out: Path) -> tuple[Case, ...]:
    """Return the scans to be used; none where samples are drawn."""
    wanted, paths = generator.family.generate_inputs, job.prediction.inputs
    if folder_role(wanted, paths):
        return find_cases(wanted, paths, out)
    if paths:
        return _cases_in_file(generator, paths)
    inputs, role = _own_inputs(generator), _role(generator)
    if role is None or inputs is None:
        if any(not asked.optional for asked in wanted):
            msg = "There is nothing to predict from: give inputs to the prediction."
            raise MrgenError(msg)
        return ()
    return cases_of(role, inputs.test(role))


def _cases_in_file(generator: LocalGenerator, paths: Mapping[str, Path]) -> tuple[Case, ...]:
    """Return the scans of a file, which may be many; what else is given is for all of them."""
    images = [one for one in generator.family.generate_inputs if one.kind == "image"]
    asked = next((one for one in images if one.role in paths), None)
    if asked is None:
        known = ", ".join(one.role for one in images) or "none"
        msg = f"Expected an image to predict from ({known}), got {', '.join(paths)}."
        raise MrgenError(msg)
    role = asked.role
    scans = find_all((asked,), {role: [paths[role]]})[role]
    beside = {other: path for other, path in paths.items() if other != role}
    cases = cases_of(role, scans)
    return tuple(replace(case, inputs={**case.inputs, **beside}) for case in cases)


def _own_inputs(generator: LocalGenerator) -> Inputs | None:
    """Return what the model was trained with, where its run is beside it."""
    folder = model_file(generator.path).parent
    return Run(folder).inputs if (folder / "inputs.json").exists() else None


def _role(generator: LocalGenerator) -> str | None:
    """Return the role of images that the model takes and was trained on."""
    inputs = _own_inputs(generator)
    known = inputs.references if inputs is not None else {}
    wanted = generator.family.source_roles(generator.model.config)
    return next((role for role in wanted if known.get(role)), None)


# ---------------------------------------------------------------- what should come out


@dataclass(frozen=True)
class _Truths:
    """The scans that predictions should look like, by subject."""

    scans: Mapping[str, Reference]
    is_one: bool = False
    """Whether there is a single one, whose name need not tell the subject."""

    def of(self, case: Case) -> Reference | None:
        if self.is_one:
            return next(iter(self.scans.values()))
        given = next(iter(case.inputs.values()))
        return self.scans.get(given.subject if isinstance(given, Reference) else subject_of(given))


def _truths(job: Job, generator: LocalGenerator, *, is_alone: bool) -> _Truths:
    """Find what should come out: the job says it, or the training had it in another role."""
    if job.truth is not None:
        target = next((one for one in generator.family.train_inputs if one.is_target), None)
        if target is None:
            scans = find(job.truth)
        else:
            scans = find_all((target,), {target.role: [job.truth]})[target.role]
        return _Truths({scan.subject: scan for scan in scans}, is_alone and len(scans) == 1)
    inputs, role = _own_inputs(generator), _role(generator)
    if inputs is None or job.prediction.inputs:
        return _Truths({})
    kinds = {asked.role: asked.kind for asked in generator.family.train_inputs}
    others = [
        other for other, scans in inputs.references.items()
        if scans and other != role and kinds.get(other) == "image"
    ]  # fmt: skip
    return _Truths({scan.subject: scan for other in others[:1] for scan in inputs.test(other)})


def _parts(
    case: Case, paths: Sequence[Path], known: _Truths, config: GenerateConfig
) -> dict[str, Volume]:
    """Bring together what belongs to a case; a truth on other voxels is left out."""
    records = {path: _record(path) for path in paths}
    parts = {str(records[p].get("part", "result")): p for p in reversed(paths)}  # The first ones.
    found = {name: nifti.read(path) for name, path in parts.items()}
    result = found["result"]
    given = next(iter(case.inputs.values()))
    source = given.read() if isinstance(given, Reference) else nifti.read(given)
    found.setdefault("input", source)
    if TRUTH not in found:
        reference = known.of(case)
        if reference is not None:
            truth: Volume | None = reference.read()
        elif any(record.get("source_is") == TRUTH for record in records.values()):
            truth = source
        else:
            truth = config.expected_in(source, result)
        if truth is not None and _has_voxels_of(truth, result):
            found[TRUTH] = truth
    return {name: found[name] for name in PARTS if name in found}


def _has_voxels_of(truth: Volume, result: Volume) -> bool:
    return truth.array.shape == result.array.shape and is_same_grid(truth, result)


def _record(path: Path) -> Mapping[str, Any]:
    """Return what a family says of a result, such as that it is not what came out but went in."""
    sidecar = sidecar_of(path)
    return json.loads(sidecar.read_text("utf-8")) if sidecar.exists() else {}


# ---------------------------------------------------------------- result.h5 and its picture


def write_results(path: Path, cases: Iterable[tuple[str, Mapping[str, Volume]]]) -> None:
    """Write cases one by one: none but the one in hand is in memory.

    Parameters
    ----------
    cases
        Names, and volumes under ``input``, ``result`` and ``truth``. Where all volumes of a part
        have one shape they become one dataset ``(case, ...)``, whose names are in another one, such
        as ``result_cases``; else a group with one for each.
    """
    # Space that is freed within a file stays part of it: cases are gathered in another one.
    gathered = path.with_name(".cases.part.h5")
    try:
        with h5py.File(gathered, "w", track_order=True) as found:
            for name, parts in cases:
                for part, volume in parts.items():
                    group = found.require_group(part) if part in found else _ordered(found, part)
                    key = printable(name.replace("/", "-"))
                    dataset = group.create_dataset(key, data=volume.array)
                    dataset.attrs["axes"] = list(volume.axes)
            with drafted(path) as draft, h5py.File(draft, "w") as file:
                for part in found:
                    _put(found[part], file, part)
    finally:
        gathered.unlink(missing_ok=True)


def _ordered(file: h5py.File, name: str) -> h5py.Group:
    return file.create_group(name, track_order=True)


def _put(group: h5py.Group, file: h5py.File, part: str) -> None:
    datasets = list(group.values())
    first = datasets[0]
    if any(d.shape != first.shape or d.dtype != first.dtype for d in datasets):
        group.copy(group, file, part)
        return
    stacked = file.create_dataset(part, (len(datasets), *first.shape), first.dtype)
    for index, dataset in enumerate(datasets):
        stacked[index] = dataset[()]
    stacked.attrs["axes"] = ["case", *first.attrs["axes"]]
    # No attribute: thousands of names are more than one can hold.
    file.create_dataset(part + NAMES, data=list(group), dtype=h5py.string_dtype())


def read_results(path: Path, most: int | None = None) -> dict[str, dict[str, Array]]:
    """Return the arrays of such a file by part and case; of the first ``most`` cases alone."""
    with opened_hdf5(path) as file:
        chosen = set(_names(file, "result")[:most])
        return {part: _arrays_by_case(file, part, chosen) for part in PARTS if part in file}


def _names(file: Any, part: str) -> list[str]:
    return list(file[part + NAMES].asstr()[()] if part + NAMES in file else file[part])


def _arrays_by_case(file: Any, part: str, chosen: Collection[str]) -> dict[str, Array]:
    places = {name: place for place, name in enumerate(_names(file, part)) if name in chosen}
    is_stacked = part + NAMES in file
    return {name: file[part][place if is_stacked else name][()] for name, place in places.items()}


def plot_results(path: Path, picture: Path) -> None:
    """Draw the middle of the first cases into a PNG: input, result, truth and their difference."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    results = read_results(path, _CASES_SHOWN)
    names = list(results["result"])
    parts = [part for part in PARTS if part in results]
    columns = [*parts, "difference"] if "truth" in parts else parts
    size = (2.2 * len(columns), 0.3 + 2.2 * len(names))
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(names), len(columns), squeeze=False)
    for axis, column in zip(axes[0], columns, strict=True):
        axis.set_title(column, color=_INK, fontsize=10)
    for row, name in zip(axes, names, strict=True):
        images = {part: _middle(results[part][name]) for part in parts if name in results[part]}
        row[0].set_ylabel(name, color=_INK, fontsize=8)
        for axis, column in zip(row, columns, strict=True):
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            _draw(axis, column, images)
    picture.parent.mkdir(exist_ok=True)
    with drafted(picture) as draft:
        figure.savefig(draft, format="png")


def _draw(axis: Any, column: str, images: Mapping[str, Array]) -> None:
    most = max(float(np.percentile(images["result"], 99.5)), 1e-6)
    if column == "difference" and "truth" in images:
        error = images["result"] - images["truth"]
        axis.imshow(error, cmap="RdBu_r", vmin=-most / 4, vmax=most / 4)
    elif column in images:
        axis.imshow(images[column], cmap="gray", vmin=0, vmax=most)


def _middle(array: Array) -> Array:
    """Return the middle plane ``(y, x)`` of an array with any axes before these."""
    while array.ndim > 2:
        array = array[len(array) // 2]
    return array.astype(np.float32)
