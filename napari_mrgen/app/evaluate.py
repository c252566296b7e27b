"""Judge a trained model on scans that it was not trained on, beside the trivial methods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from napari_mrgen import families
from napari_mrgen.app.inputs import Paths, find_all
from napari_mrgen.data.split import Split
from napari_mrgen.engine.checkpoint import load_model
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.device import choose
from napari_mrgen.engine.header import Header, model_file, read_header
from napari_mrgen.engine.runs import Run, hash_split
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import Reference
from napari_mrgen.metrics.scoreboard import Score, Scoreboard, tabulate


def evaluate(
    model_path: Path,
    paths: Paths | None = None,
    *,
    split_file: Path | None = None,
    everyone: bool = False,
    device: str = "auto",
) -> Scoreboard:
    """Return the scoreboard of a model; see `choose_scans` for which scans are scored."""
    scans = choose_scans(model_path, paths, split_file=split_file, everyone=everyone)
    return tabulate(scores(model_path, scans, device=device))


def choose_scans(
    model_path: Path,
    paths: Paths | None = None,
    *,
    split_file: Path | None = None,
    everyone: bool = False,
) -> tuple[Reference, ...]:
    """Choose the scans to score: those of subjects that the model was not trained on.

    Parameters
    ----------
    paths
        Where to look, by role; the run's own inputs if not given.
    split_file
        The split that the model was trained with; the one of its run folder if not given.
    everyone
        Score all subjects, those that were trained on too.
    """
    header = read_header(model_path)
    run = Run(model_file(model_path).parent)
    wanted = families.get(header.family).train_inputs
    role = wanted[0].role
    scans = find_all(wanted, paths)[role] if paths else run.inputs.references[role]
    if everyone:
        return scans
    split = Split.load(split_file) if split_file else _split_of(run, header)
    unseen = tuple(scan for scan in scans if scan.subject not in split.train)
    if not unseen:
        msg = "The model was trained on every subject found; give others, or ask for all of them."
        raise MrgenError(msg)
    return unseen


def scores(
    model_path: Path,
    scans: tuple[Reference, ...],
    *,
    device: str = "auto",
    control: Control | None = None,
) -> Iterator[Score]:
    """Yield one score a subject and method; ``control`` is looked at between two."""
    control = control or Control()
    model = load_model(model_path, families.get)
    chosen = choose(device)
    networks = {name: network.to(chosen) for name, network in model.networks.items()}
    source = families.get(model.family).score(networks, model.config, scans)
    while not control.is_stopped:
        with torch.inference_mode():
            score = next(source, None)
        if score is None:
            return
        yield score


def _split_of(run: Run, header: Header) -> Split:
    """Return the split in the model's run folder, if it is the one that the model knows."""
    if (run.path / "inputs.json").exists():
        split = run.inputs.split
        if hash_split(split) == header.split:
            return split
    msg = "The split of this model is not beside it; give its split file, or ask for all subjects."
    raise MrgenError(msg)
