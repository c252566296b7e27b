"""Describe a path as plain data, without torch: a scan, a folder of scans, a run or a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_mrgen import families
from napari_mrgen.engine.run.folder import Run, holds_run
from napari_mrgen.engine.run.model_header import hash_file, model_file, read_header
from napari_mrgen.engine.run.pictures import PICTURES_A_SECOND, as_movie, preview_pictures
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.datasets import acdc
from napari_mrgen.io.find import Reference, find, table_notes
from napari_mrgen.io.formats import fault_of
from napari_mrgen.io.synthetic import is_synthetic
from napari_mrgen.volume import Volume, VolumeInfo


def describe(path: Path) -> dict[str, Any]:
    """Describe what a path is, as plain data."""
    if not path.exists():
        msg = f"There is no {path}; check the path."
        raise MrgenError(msg)
    if holds_run(path):
        return _run(path)
    if path.suffix == ".safetensors":
        return _model(path)
    scans = find(path)
    return _scan(scans[0]) if path.is_file() else _folder(path, scans)


def _scan(scan: Reference) -> dict[str, Any]:
    seen = scan.info()
    facts: dict[str, Any] = {
        "kind": "scan",
        "path": str(scan.path),
        "subject": scan.subject,
        "axes": seen.axes,
        "shape": list(seen.shape),
        "spacing_mm": [round(size, 4) for size in seen.spacing] if seen.spacing_known else None,
        "frame_interval_s": None,
        "labels": [str(path) for path in scan.labels],
        "notes": _notes(seen),
    }
    if seen.times is not None and len(seen.times) > 1:
        facts["frame_interval_s"] = round(float(np.diff(seen.times).mean()), 6)
    if is_synthetic(scan.path):
        facts["synthetic"] = True
    if scan.participant.known:
        facts["covariates"] = scan.participant.known
    if info := acdc.read_info(scan.path):
        facts["info"] = info
    return facts


def _notes(seen: VolumeInfo) -> list[str]:
    """Say what is odd or missing in a scan."""
    notes = list(seen.doubts)
    directions = seen.affine[:3, :3] / np.linalg.norm(seen.affine[:3, :3], axis=0)
    if not np.allclose(np.abs(directions).max(axis=0), 1, atol=1e-3):
        notes.append("The slices are oblique to the scanner.")
    if "t" in seen.axes and seen.times is None:
        notes.append("The file does not know its frame times in seconds.")
    _, y, x = seen.spacing
    if max(y, x) > 1.05 * min(y, x):
        notes.append(f"Pixels are not square: {y:.3g} by {x:.3g} mm.")
    return notes


def _folder(path: Path, scans: tuple[Reference, ...]) -> dict[str, Any]:
    faults = {one.path: fault for one in scans if not one.slices and (fault := fault_of(one.path))}
    return {
        "kind": "folder",
        "path": str(path),
        "subjects": len({scan.subject for scan in scans}),
        "labelled": sum(bool(scan.labels) for scan in scans),
        "scans": [_scan(scan) for scan in scans if scan.path not in faults],
        "left_out": [{"path": str(path), "why": why} for path, why in faults.items()],
        "notes": list(table_notes(scans)),
    }


def _run(path: Path) -> dict[str, Any]:
    run = Run(path)
    inputs = run.inputs
    facts: dict[str, Any] = {
        "kind": "run",
        "path": str(path),
        "family": run.options.family,
        "status": run.status,
        "train_subjects": list(inputs.split.train),
        "test_subjects": list(inputs.split.test),
        "changed_inputs": list(run.changed_inputs()),
        "model": None,
    }
    if (path / "model.safetensors").exists():
        facts["model"] = _model(path)
    return facts


def _model(path: Path) -> dict[str, Any]:
    header = read_header(path)
    file = model_file(path)
    return {
        "kind": "model",
        "path": str(file),
        "sha256": hash_file(file),
        "bytes": file.stat().st_size,
        **{name: value for name, value in vars(header).items() if name != "format"},
    }


def replay(run_dir: Path, stage: str | None = None) -> Volume:
    """Return the previews of a run so far, ``tzyx`` with one z, a frame each.

    Parameters
    ----------
    stage
        The last that has two previews, where none is named.

    Raises
    ------
    MrgenError
        If the folder is not a run, or has nothing to replay yet.
    """
    run = Run(run_dir)
    config = run.config(families.get(run.options.family))
    if stage is not None:
        config.check_stage(stage, has_start=True)
    for name in (stage,) if stage else reversed(config.stages):
        movie = as_movie(preview_pictures(run_dir, name))
        if movie is not None:
            times = tuple(frame / PICTURES_A_SECOND for frame in range(movie.size("t")))
            return replace(movie, times=times, name=f"{run_dir.name}: {name}")
    msg = (
        f"{run_dir.name} has fewer than two previews, and no movie is made of one: they come every "
        f"{config.preview_every} steps (preview_every)."
    )
    raise MrgenError(msg)


_SHOWN_METRICS = 4


@dataclass(frozen=True)
class ModelCard:
    """A run folder or model file, and its description in a few lines."""

    path: Path
    family: str
    text: str


def read_card(path: Path) -> ModelCard:
    """Read what a trained model is from its header, without torch.

    Raises
    ------
    MrgenError
        If there is no model, or it is of an unknown family.
    """
    header = read_header(path)
    subjects = "1 subject" if header.subjects == 1 else f"{header.subjects} subjects"
    lines = [
        families.get(header.family).title,
        f"Trained for {header.step:,} steps ({header.stage}) on {subjects}.",
    ]
    metrics = [f"{name} {value:.4g}" for name, value in header.metrics.items()]
    if metrics:
        lines.append(f"Scores: {', '.join(metrics[:_SHOWN_METRICS])}.")
    return ModelCard(path, header.family, "\n".join(lines))
