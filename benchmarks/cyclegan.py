"""How much translated T1w and T2w volumes are like the real ones, beside baselines and models.

    python benchmarks/cyclegan.py RUNS [--data FOLDER] [--models quick unet published]
                                  [--folds 0 1 2] [--finished]

Trains on two of the three aligned pairs of Open MS and scores on the third, all ways round, and on
the MNI152 averages, which no model was trained on: ``quick``, a plain U-Net of the same size that
learns from pairs alone, and ``published`` for the same time on the clock. Then the native pairs of
the same data, which lie on different grids: registered, trained on and translated by themselves.
Finished trainings under RUNS are used again; with ``--finished`` nothing else is looked at.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from common import DATA, grid, machine, paced, train, write

from napari_mrgen import families
from napari_mrgen.app.generate import generate
from napari_mrgen.app.inputs import find_all, gather
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.engine.family import TrainConfig
from napari_mrgen.engine.run.model import load_model
from napari_mrgen.io import nifti
from napari_mrgen.metrics.scoreboard import Score

FAMILY = families.get("cyclegan")
QUICK = FAMILY.preset("quick")
PAIRS_ALONE = {"adversarial_weight": 0.0, "cycle_weight": 0.0, "identity_weight": 0.0}
PUBLISHED = FAMILY.preset("published").with_values({"patch": QUICK.model_dump()["patch"]})
"""On patches as ``quick``: of whole volumes it would see no more than a dozen in the same time."""
LENGTHS = {"translation": "steps"}
TEMPLATE = "MNI152"
DIRECTIONS = ("t1 to t2", "t2 to t1")
NATIVE = "native"
NATIVE_STEPS = 600
"""Of the training on native pairs, which shows that it works, not how well."""
MODEL = "model"
CLOCK = "seconds.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder for the trained models")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--models", nargs="*", default=("quick", "unet", "published"))
    parser.add_argument("--folds", nargs="*", type=int, default=(0, 1, 2))
    parser.add_argument("--finished", action="store_true", help="train nothing")
    chosen = parser.parse_args()
    everyone = pairs_of_data(chosen.data)
    folds = [fold_of(everyone, number) for number in chosen.folds]
    if not chosen.finished:
        for model, fold in product(chosen.models, folds):
            trained(model, fold, chosen.runs)
    seconds = {
        folder.name: seconds_of(folder)
        for model, fold in product(chosen.models, folds)
        for folder in finished(model, fold, chosen.runs)
    }
    scores = [
        score
        for fold in folds
        for score in scored(fold, chosen.models, chosen.runs)
    ]  # fmt: skip
    found = {
        "machine": machine(),
        "training_seconds": seconds,
        "scores": [vars(score) for score in scores],
    }
    if not chosen.finished or (chosen.runs / NATIVE / CLOCK).exists():
        found["native"] = native(chosen.data, chosen.runs)
    write("cyclegan", found, markdown(found, scores))


# ---- trainings ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fold:
    """One of the three ways to hold a patient out; the template is held out in all of them."""

    inputs: Inputs
    held_out: str

    @property
    def without_template(self) -> Inputs:
        return replace(self.inputs, split=Split(self.inputs.split.train, (self.held_out,)))


def pairs_of_data(data: Path) -> Inputs:
    """Find the aligned pairs of Open MS and the pair of averages, brains without skull, 1 mm."""
    averages = data / "mni-templates"
    paths = {
        "pairs": [data / "open-ms-t1-t2" / "mni_1mm"],
        "t1": [averages / "MNI152_T1_1mm_brain.nii.gz"],
        "t2": [averages / "MNI152_T2_1mm_brain.nii.gz"],
    }
    found = find_all(FAMILY.train_inputs, paths)
    subjects = {scan.subject for role in ("t1", "t2") for scan in found[role]}
    return Inputs(found, Split(tuple(sorted(subjects)), ()))


def fold_of(everyone: Inputs, number: int) -> Fold:
    names = everyone.split.train
    patients = [name for name in names if not name.startswith(TEMPLATE)]
    averages = [name for name in names if name.startswith(TEMPLATE)]
    if len(patients) != 3 or len(averages) != 1:
        raise SystemExit(f"expected three patients and one pair of averages, got {names}")
    held_out = patients.pop(number)
    split = Split(tuple(patients), tuple(sorted((held_out, *averages))))
    return Fold(replace(everyone, split=split), held_out)


def trained(model: str, fold: Fold, runs: Path) -> None:
    """Train a model of a fold, where it is not trained yet."""
    inputs = fold.without_template
    if model == "unet":
        for direction, folder in zip(DIRECTIONS, folders(model, fold, runs), strict=True):
            train(FAMILY, plain(direction), inputs, folder)
        return
    (folder,) = folders(model, fold, runs)
    config = QUICK
    if model == "published":
        config = PUBLISHED
        if not folder.exists():
            (quick,) = folders("quick", fold, runs)
            config = paced(FAMILY, config, inputs, seconds_of(quick), LENGTHS)
    train(FAMILY, config, inputs, folder)


def plain(direction: str) -> TrainConfig:
    """Return the settings of a U-Net that learns one direction from pairs, in as many steps."""
    return QUICK.with_values({**PAIRS_ALONE, "direction": direction})


def folders(model: str, fold: Fold, runs: Path) -> list[Path]:
    stem = f"{model}-{fold.held_out}"
    if model != "unet":
        return [runs / stem]
    return [runs / f"{stem}-{direction.replace(' ', '-')}" for direction in DIRECTIONS]


def finished(model: str, fold: Fold, runs: Path) -> list[Path]:
    return [folder for folder in folders(model, fold, runs) if (folder / CLOCK).exists()]


def seconds_of(folder: Path) -> float:
    """Return what the steps of a training took."""
    return float(sum(json.loads((folder / CLOCK).read_text()).values()))


# ---- figures ------------------------------------------------------------------------------------


def scored(fold: Fold, models: Sequence[str], runs: Path) -> Iterator[Score]:
    """Yield the scores of all models on what is held out, the baselines' once."""
    known: set[tuple[str, str]] = set()
    for model in models:
        for folder in finished(model, fold, runs):
            for score in scores_of(folder, fold.inputs):
                contrast, method = score.method.split(": ")
                name = f"{contrast}: {model if method == MODEL else method}"
                if (name, score.subject) not in known:
                    known.add((name, score.subject))
                    yield replace(score, method=name)


def scores_of(folder: Path, inputs: Inputs) -> Iterator[Score]:
    model = load_model(folder / "model.safetensors", families.get)
    with torch.inference_mode():
        yield from FAMILY.score(model.networks, model.config, inputs)


def native(data: Path, runs: Path) -> dict[str, Any]:
    """Train on native pairs, translate the held-out T1w, and say where the result lies."""
    config = QUICK.with_values({"steps": NATIVE_STEPS, "unaligned": "register"})
    inputs = gather(FAMILY, {"pairs": [data / "open-ms-t1-t2" / "raw"]}, config)
    folder = runs / NATIVE
    start = time.monotonic()
    train(FAMILY, config, inputs, folder)
    seconds = time.monotonic() - start
    source = inputs.test("t1")[0]
    start = time.monotonic()
    (result,) = generate(folder, {"t1": source.path})
    made_in = time.monotonic() - start
    nifti.write(result, folder / "translated.nii.gz")
    made, scan = nifti.read(folder / "translated.nii.gz"), nifti.read(source.path)
    return {
        "scan": source.path.name,
        "seconds": round(seconds),
        "translation_seconds": round(made_in, 1),
        "shape": made.array.shape,
        "same_shape": made.array.shape == scan.array.shape,
        "same_affine": bool(np.allclose(made.affine, scan.affine, atol=1e-4)),
        "scores": [vars(score) for score in scores_of(folder, inputs)],
    }


# ---- tables -------------------------------------------------------------------------------------


def markdown(found: Mapping[str, Any], scores: Sequence[Score]) -> str:
    patients = [score for score in scores if not score.subject.startswith(TEMPLATE)]
    averages = [score for score in scores if score.subject.startswith(TEMPLATE)]
    seconds = [[name, f"{value:.0f}"] for name, value in found["training_seconds"].items()]
    return (
        "\n\n".join(
            (
                f"Machine: {found['machine']}.",
                "Three patients, each held out once; mean (standard deviation).",
                table(patients),
                "MNI152 averages, held out; mean over the three trainings.",
                table(averages),
                "Patient by patient.",
                by_subject(patients),
                grid([["training", "seconds"], *seconds]),
                *native_part(found.get(NATIVE)),
            )
        )
        + "\n"
    )


def native_part(found: Mapping[str, Any] | None) -> tuple[str, ...]:
    if found is None:
        return ()
    place = {name: value for name, value in found.items() if name != "scores"}
    return f"Native pairs: {place}.", table([Score(**score) for score in found["scores"]])


def table(scores: Sequence[Score]) -> str:
    columns = list(dict.fromkeys(name for score in scores for name in score.values))
    rows = []
    for method in dict.fromkeys(score.method for score in scores):
        own = [score.values for score in scores if score.method == method]
        rows.append([method, *(cell([v[c] for v in own if c in v]) for c in columns)])
    return grid([["", *columns], *rows])


def cell(values: Sequence[float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return ""
    spread = f" ({stdev(known):.3g})" if len(known) > 1 else ""
    return f"{fmean(known):.4g}{spread}"


def by_subject(scores: Sequence[Score]) -> str:
    rows = [
        [
            s.subject,
            s.method,
            f"{s.values['PSNR in brain']:.2f}",
            f"{s.values['SSIM in brain']:.3f}",
        ]
        for s in sorted(scores, key=lambda score: (score.subject, score.method))
    ]
    return grid([["held out", "method", "PSNR in brain", "SSIM in brain"], *rows])


if __name__ == "__main__":
    main()
