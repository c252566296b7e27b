from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from napari_mrgen import families
from napari_mrgen.app.inputs import gather
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit, resume
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.model import load_weights
from napari_mrgen.families.dcgan.config import PRESETS, DcganConfig
from napari_mrgen.families.dcgan.scoring import MAX_SSIM, MODEL, OVER_GOAL
from napari_mrgen.families.dcgan.training import plan_slice_gan
from napari_mrgen.io import nifti
from napari_mrgen.metrics.scoreboard import Scoreboard
from napari_mrgen.samples import brain

FAMILY = families.get("dcgan")
TINY = PRESETS["tiny"].config.with_values({"steps": 8, "preview_every": 4, "save_every": 4})
SMALL_PUBLISHED = PRESETS["published"].config.with_values(
    {"size": 64, "batch_size": 2, "steps": 4, "preview_every": 4, "save_every": 4}
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("brains")
    for seed in range(3):
        nifti.write(brain(seed)[0], folder / f"brain-{seed}.nii.gz")
    return gather(FAMILY, {"slices": [folder]}, TINY)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, inputs: Inputs) -> Path:
    return train(TINY, inputs, tmp_path_factory.mktemp("run"))


def train(config: DcganConfig, inputs: Inputs, folder: Path) -> Path:
    *_, last = fit(FAMILY, config, inputs, folder, Control(), device="cpu", precision="32-true")
    assert isinstance(last, events.Finished), last
    return folder


@pytest.mark.parametrize("config", [TINY, SMALL_PUBLISHED], ids=["residual", "published"])
def test_a_stop_and_a_resume_change_nothing(
    config: DcganConfig, inputs: Inputs, tmp_path: Path
) -> None:
    whole = train(config, inputs, tmp_path / "whole")
    control, stopped = Control(), tmp_path / "stopped"
    for event in fit(FAMILY, config, inputs, stopped, control, device="cpu", precision="32-true"):
        if isinstance(event, events.Stepped):
            control.stop()
    *_, last = resume(stopped, families.get, Control(), device="cpu")
    assert isinstance(last, events.Finished), last
    one, other = load_weights(whole), load_weights(stopped)
    for name, tensor in one["generator"].items():
        assert torch.equal(tensor, other["generator"][name]), name


def test_it_leaves_what_the_published_one_showed(run: Path) -> None:
    with (run / "metrics.csv").open(newline="") as file:
        names = {row["name"] for row in csv.DictReader(file)}
    assert names >= {
        "train/discriminator", "train/generator", "train/reconstruction",
        "held_out/samples classified real", "held_out/real classified synthetic",
        "held_out/best SSIM to held-out slices",
    }  # fmt: skip
    for path in ("movies/gan_training.gif", "figures/gan_curves.png"):
        assert (run / path).stat().st_size > 1000


def test_the_measure_of_the_seed_stands_beside_the_others(run: Path) -> None:
    (finished,) = [
        e for e in resume(run, families.get, Control()) if isinstance(e, events.Finished)
    ]
    scoreboard: Scoreboard = finished.scoreboard
    rows = {row.method: row.mean for row in scoreboard.rows}
    assert rows[MODEL].keys() >= {MAX_SSIM, OVER_GOAL}
    assert 0 <= rows["mean image"][OVER_GOAL] <= 1
    assert scoreboard.rows[0].method == MODEL


def test_a_plan_is_of_the_dearest_step(inputs: Inputs) -> None:
    fine, coarse = (
        plan_slice_gan(
            TINY.with_values({"coarse_share": share, "reconstruction_share": share}), inputs
        )
        for share in (0.0, 0.9)
    )
    assert fine.flops_per_step == coarse.flops_per_step
    smaller = plan_slice_gan(TINY.with_values({"batch_size": 2}), inputs)
    assert smaller.memory_bytes < fine.memory_bytes
