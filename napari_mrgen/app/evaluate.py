"""Score a trained model and the baselines on scans that it was not trained on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from napari_mrgen import families
from napari_mrgen.app.inputs import Paths, References, find_usable
from napari_mrgen.app.plots.sets import plot_sets
from napari_mrgen.app.plots.volumes import plot_volumes
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.device import choose_device
from napari_mrgen.engine.family import ComparesVolumes, Family, SamplesSets, TrainConfig
from napari_mrgen.engine.run.folder import Run, fingerprint, hash_split
from napari_mrgen.engine.run.model import load_model
from napari_mrgen.engine.run.model_header import Header, model_file, read_header
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import Reference
from napari_mrgen.metrics.scoreboard import Score, Scoreboard, tabulate
from napari_mrgen.metrics.volumes import Comparison

Illustrate = Callable[[Sequence[Score], Path], None]


def evaluate(
    model_path: Path,
    paths: Paths | None = None,
    *,
    split_file: Path | None = None,
    everyone: bool = False,
    device: str = "auto",
) -> Scoreboard:
    """Return the scoreboard of a model; see `choose_inputs` for which scans are scored."""
    inputs = choose_inputs(model_path, paths, split_file=split_file, everyone=everyone)
    return tabulate(scores(model_path, inputs, device=device))


def choose_inputs(
    model_path: Path,
    paths: Paths | None = None,
    *,
    split_file: Path | None = None,
    everyone: bool = False,
) -> Inputs:
    """Choose the scans to score: those of subjects that the model was not trained on.

    The subjects that it was trained on are in the split too, where they are among the scans:
    near-copies of their images are searched for.

    Parameters
    ----------
    paths
        Where to look, by role; the run's own inputs if not given.
    split_file
        The split that the model was trained with; the one of its run folder if not given.
    everyone
        Score all subjects, also those that were trained on.
    """
    header = read_header(model_path)
    run = Run(model_file(model_path).parent)
    family = families.get(header.family)
    references = _known(_usable(family, paths), run) if paths else _in_place(run)
    family.check_inputs(references)
    subjects = {scan.subject for scans in references.values() for scan in scans}
    if everyone:
        return Inputs(references, Split((), tuple(sorted(subjects))))
    split = Split.load(split_file) if split_file else _split_of(run, header)
    trained = subjects.intersection(split.train)
    if subjects == trained:
        msg = "The model was trained on every subject found; give others, or ask for all of them."
        raise MrgenError(msg)
    return Inputs(references, Split(tuple(sorted(trained)), tuple(sorted(subjects - trained))))


def _usable(family: Family, paths: Paths) -> References:
    """Find the scans that can be scored, and warn of the others; refuse where there are none."""
    references, left_out = find_usable(family.train_inputs, paths)
    if left_out and not any(references.values()):
        raise MrgenError(f"{left_out[0].path.name} cannot be scored: {left_out[0].why}")
    for one in left_out:
        warnings.warn(f"{one.path.name} is not scored: {one.why}", stacklevel=3)
    return references


def _known(references: References, run: Run) -> References:
    """Give scans that the run was trained or tested on the subjects that it knows them by.

    By their content: they may have been moved or renamed, or be distinguished by other rules.
    """
    if not (run.path / "inputs.json").exists():
        return references
    subjects = run.subjects_by_content()
    return {
        role: tuple(
            replace(scan, subject=subjects.get(fingerprint(scan.path), scan.subject))
            for scan in scans
        )
        for role, scans in references.items()
    }


def _in_place(run: Run) -> Mapping[str, tuple[Reference, ...]]:
    """Return the run's own scans; refuse where they are not there any more."""
    references = run.inputs.references
    files = {scan.path for scans in references.values() for scan in scans}
    gone = sorted(one.name for one in files if not (one.exists() or one.parent.is_file()))
    if gone:
        msg = (
            f"{len(gone)} scans of this run are not where they were, such as {gone[0]}; say where "
            "they are now, as for the training: --input ROLE=PATH."
        )
        raise MrgenError(msg)
    return references


def scores(
    model_path: Path,
    inputs: Inputs,
    *,
    device: str = "auto",
    control: Control | None = None,
) -> Iterator[Score]:
    """Yield one score for each subject and method; ``control`` is checked between two."""
    control = control or Control()
    family, networks, config = _load(model_path, device)
    source = family.score(networks, config, inputs)
    while not control.is_stopped:
        with torch.inference_mode():
            score = next(source, None)
        if score is None:
            return
        yield score


def illustrate(model_path: Path, inputs: Inputs, *, device: str = "auto") -> Illustrate:
    """Generate again what is scored; return a function that plots it, with the scores, into a PNG.

    Raises
    ------
    MrgenError
        If the family has nothing to plot, before anything is scored.
    """
    family, networks, config = _load(model_path, device)
    with torch.inference_mode():
        sets = family.sets(networks, config, inputs) if isinstance(family, SamplesSets) else None
    if sets is not None:
        return lambda scores, path: plot_sets(sets, tabulate(scores), path)
    volumes = None
    if isinstance(family, ComparesVolumes):
        volumes = family.comparisons(networks, config, inputs)
    if volumes is None:
        msg = (
            f"{family.title} generates neither independent images nor translated volumes, so there "
            "is nothing to show; leave the plot out."
        )
        raise MrgenError(msg)
    return lambda scores, path: _plot_volumes(volumes, scores, path)


def _plot_volumes(volumes: Iterator[Comparison], scores: Sequence[Score], path: Path) -> None:
    with torch.inference_mode():
        plot_volumes(volumes, scores, path)


def _load(model_path: Path, device: str) -> tuple[Family, dict[str, nn.Module], TrainConfig]:
    model = load_model(model_path, families.get)
    chosen = choose_device(device)
    networks = {name: network.to(chosen) for name, network in model.networks.items()}
    return families.get(model.family), networks, model.config


def _split_of(run: Run, header: Header) -> Split:
    """Return the split in the model's run folder, if it is the one that the model knows."""
    if (run.path / "inputs.json").exists():
        split = run.inputs.split
        if hash_split(split) == header.split:
            return split
    msg = "The split of this model is not beside it; give its split file, or ask for all subjects."
    raise MrgenError(msg)
