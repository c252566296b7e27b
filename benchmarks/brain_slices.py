"""How well brain slices are reconstructed and drawn, each model beside its seed.

    python benchmarks/brain_slices.py RUNS [--data FOLDER]

Trains on the T1w brains of IXI, axial slices of 128 x 128 pixels, and scores on subjects that no
model has seen: the VQ-VAE at both factors with its two priors, the DCGAN, and ``published`` of each
for the same time on the clock. Finished trainings under RUNS are used again.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from common import DATA, grid, machine, paced, train, write

from napari_mrgen import families
from napari_mrgen.app.inputs import gather
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.family import TrainConfig
from napari_mrgen.engine.run.model import Model, load_model
from napari_mrgen.metrics.distributions import Sets
from napari_mrgen.metrics.scoreboard import Scoreboard, tabulate
from napari_mrgen.metrics.sets import score_sets

VQVAE, DCGAN = families.get("vqvae"), families.get("dcgan")
SIZE = 128
LENGTHS = {"vqvae": "vqvae_steps", "gan": "steps"}
RECONSTRUCTING = (
    ("vqvae", "vqvae"), ("vqvae", "texture"), ("vqvae-4", "vqvae"), ("vqvae-4", "texture"),
    ("vqvae-seed", "vqvae"),
)  # fmt: skip
"""Runs, and the stages after which their reconstructions are scored."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder for the trained models")
    parser.add_argument("--data", type=Path, default=DATA)
    chosen = parser.parse_args()
    runs = chosen.runs
    inputs = gather(VQVAE, {"slices": [chosen.data / "ixi-t1-2mm"]}, VQVAE.preset("quick"))
    seconds = train_all(inputs, runs)
    found = {
        "machine": machine(),
        "subjects": {"trained": len(inputs.split.train), "held out": len(inputs.split.test)},
        "training_seconds": seconds,
        "reconstruction": reconstructions(inputs, runs),
        "samples": samples(inputs, runs),
    }
    write("brain_slices", found, markdown(found))


def train_all(inputs: Inputs, runs: Path) -> dict[str, dict[str, float]]:
    quick = VQVAE.preset("quick")
    seconds = {"vqvae": train(VQVAE, quick, inputs, runs / "vqvae")}
    fine = quick.with_values({"factor": 4, "prior_steps": 0})
    seconds["vqvae, factor 4"] = train(VQVAE, fine, inputs, runs / "vqvae-4")
    seconds["vqvae, DCGAN prior"] = train(
        VQVAE, quick.with_values({"prior": "dcgan"}), inputs, runs / "vqvae-dcgan",
        only_stage="prior", start_from=runs / "vqvae" / "model-texture.safetensors",
    )  # fmt: skip
    published = VQVAE.preset("published").with_values(
        {"size": SIZE, "patch": SIZE, "prior_steps": 0}
    )
    without_prior = seconds["vqvae"]["vqvae"] + seconds["vqvae"]["texture"]
    seconds["vqvae, seed"] = _train_as_long(
        VQVAE, published, inputs, runs / "vqvae-seed", without_prior
    )
    seconds["dcgan"] = train(DCGAN, DCGAN.preset("quick"), inputs, runs / "dcgan")
    seconds["dcgan, seed"] = _train_as_long(
        DCGAN,
        DCGAN.preset("published"),
        inputs,
        runs / "dcgan-seed",
        sum(seconds["dcgan"].values()),
    )
    return seconds


def _train_as_long(
    family: Any, config: TrainConfig, inputs: Inputs, folder: Path, seconds: float
) -> dict[str, float]:
    if not folder.exists():
        config = paced(family, config, inputs, seconds, LENGTHS)
    return train(family, config, inputs, folder)


# ---- figures ------------------------------------------------------------------------------------


def reconstructions(inputs: Inputs, runs: Path) -> dict[str, dict[str, float]]:
    """Return mean figures over held-out subjects, the trivial methods once for each factor."""
    found = {}
    for name, stage in RECONSTRUCTING:
        board = _board(_load(runs / name, stage), inputs)
        for row in board.rows:
            if "SSIM in head" in row.mean:
                found[f"{name}, {stage}: {row.method}"] = {
                    **row.mean,
                    "SSIM spread": row.spread["SSIM"],
                    "SSIM in head spread": row.spread["SSIM in head"],
                }
    return found


def _board(model: Model, inputs: Inputs) -> Scoreboard:
    module = importlib.import_module("napari_mrgen.families.vqvae.scoring")
    data = module.slice_data(model.config, inputs)
    with torch.inference_mode():
        return tabulate(
            module.score_reconstruction(
                model.networks, model.config, data.train_slices, data.test_slices
            )
        )


def samples(inputs: Inputs, runs: Path) -> dict[str, Any]:
    """Score the samples of all models against the same held-out slices."""
    made, first = {}, None
    for name in ("vqvae", "vqvae-dcgan", "dcgan", "dcgan-seed"):
        stage = "gan" if name.startswith("dcgan") else "prior"
        sets = _sets(_load(runs / name, stage), inputs)
        first = first or sets
        for method, images in sets.generated.items():
            made[f"{name}: {method}"] = images
    if first is None:
        raise SystemExit("There is no model to score.")
    scores = score_sets(made, first.held_out, first.train)
    return {row.method: dict(row.mean) for row in tabulate(scores).rows}


def _sets(model: Model, inputs: Inputs) -> Sets:
    module = importlib.import_module(f"napari_mrgen.families.{model.family}.generation")
    with torch.inference_mode():
        return module.sets(model.networks, model.config, inputs)  # type: ignore[no-any-return]


def _load(run: Path, stage: str) -> Model:
    return load_model(run / f"model-{stage}.safetensors", families.get)


def markdown(found: Mapping[str, Any]) -> str:
    seconds = {name: round(sum(s.values())) for name, s in found["training_seconds"].items()}
    return (
        "\n\n".join(
            (
                f"Machine: {found['machine']}. Subjects: {found['subjects']}.",
                grid([["training", "seconds"], *([name, str(s)] for name, s in seconds.items())]),
                _table("reconstruction", found["reconstruction"]),
                _table("set of slices", found["samples"]),
            )
        )
        + "\n"
    )


def _table(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    columns = list(dict.fromkeys(column for figures in rows.values() for column in figures))
    body = (
        [name, *(f"{figures[c]:.3f}" if c in figures else "" for c in columns)]
        for name, figures in rows.items()
    )
    return grid([[title, *columns], *body])


if __name__ == "__main__":
    main()
