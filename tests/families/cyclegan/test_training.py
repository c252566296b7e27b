from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_mrgen import families
from napari_mrgen.app.inputs import gather
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.context import StageState
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import DataPreview
from napari_mrgen.engine.fit import fit, resume
from napari_mrgen.engine.memory.measure import measure_call, measure_step
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.model import load_weights
from napari_mrgen.engine.run.state import load_state, save_state
from napari_mrgen.engine.task import Stage
from napari_mrgen.engine.weights import WeightAverage
from napari_mrgen.families.cyclegan.config import PUBLISHED, QUICK, TINY, CycleGanConfig
from napari_mrgen.families.cyclegan.networks import build_translators
from napari_mrgen.families.cyclegan.tasks import PREVIEW_TILE, TrainingSamples
from napari_mrgen.families.cyclegan.training import (
    cycle_task,
    memory_savings,
    plan_translation,
    preview_translation_data,
    translation_stages,
)
from napari_mrgen.io import nifti
from napari_mrgen.volume import Volume

FAMILY = families.get("cyclegan")
SHAPE = (22, 30, 26)
SHORT = TINY.with_values({"steps": 8, "preview_every": 4, "save_every": 4})
WHOLE = PUBLISHED.with_values(
    {"width": 4, "discriminator_width": 4, "steps": 4, "preview_every": 4, "save_every": 4}
)
LARGE = TINY.with_values({"patch": 16, "batch_size": 4, "width": 16, "blocks": 2})


def head(seed: int) -> tuple[Volume, Volume]:
    """Return smooth noise in a ball as T1w, and with its contrast turned round as T2w."""
    noise = np.random.default_rng(seed).normal(size=SHAPE)
    smooth = ndimage.gaussian_filter(noise, 1.5)
    t1 = 0.5 + 0.2 * smooth / smooth.std()
    place = np.stack(np.meshgrid(*(np.linspace(-1.2, 1.2, n) for n in SHAPE), indexing="ij"))
    ball = (place**2).sum(0) < 1
    affine = np.diag([-2.0, -2.0, -2.0, 1.0])[:, [2, 1, 0, 3]]
    values = (100 * np.where(ball, image.clip(0.05, 1), 0) for image in (t1, 1.05 - t1))
    one, other = (Volume(v.astype(np.float32), "zyx", affine) for v in values)
    return one, other


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRGEN_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("heads")
    for seed in range(3):
        for role, volume in zip(("t1", "t2"), head(seed), strict=True):
            (folder / role).mkdir(exist_ok=True)
            nifti.write(volume, folder / role / f"head-{seed}.nii.gz")
    return gather(FAMILY, {role: [folder / role] for role in ("t1", "t2")}, TINY)


def train(config: CycleGanConfig, inputs: Inputs, folder: Path) -> Path:
    *_, last = fit(FAMILY, config, inputs, folder, Control(), device="cpu", precision="32-true")
    assert isinstance(last, events.Finished), last
    return folder


def test_it_says_what_it_prepares_and_then_trains(inputs: Inputs) -> None:
    *before, stage = translation_stages(SHORT, inputs)
    assert all(isinstance(item, Progress) for item in before)
    assert before
    assert isinstance(stage, Stage)
    assert (stage.name,) == SHORT.stages
    shown = stage.task.preview(stage.task.networks, lambda *_: torch.Generator())
    names = [volume.name for volume in shown]
    assert names[:4] == [
        "synthetic T2w", "real T1w", "T1w after both directions", "T1w to T2w: difference",
    ]  # fmt: skip
    assert len(names) == 8
    assert all(volume.spacing == pytest.approx((2, 2, 2)) for volume in shown)


@pytest.mark.parametrize("config", [SHORT, WHOLE], ids=["patches", "whole"])
def test_a_stop_and_a_resume_change_nothing(
    config: CycleGanConfig, inputs: Inputs, tmp_path: Path
) -> None:
    whole = train(config, inputs, tmp_path / "whole")
    control, stopped = Control(), tmp_path / "stopped"
    for event in fit(FAMILY, config, inputs, stopped, control, device="cpu", precision="32-true"):
        if isinstance(event, events.Stepped):
            control.stop()
    *_, last = resume(stopped, families.get, Control(), device="cpu")
    assert isinstance(last, events.Finished), last
    one, other = load_weights(whole), load_weights(stopped)
    assert one.keys() == {"t1_to_t2", "t2_to_t1"}
    for name, network in one.items():
        for key, tensor in network.items():
            assert torch.equal(tensor, other[name][key]), (name, key)


def test_a_plan_prepares_nothing(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRGEN_CACHE", "/nowhere")
    found = plan_translation(TINY, inputs)
    assert found.shape == (1, 16, 16, 16)
    assert found.notes[0] == "3 pairs of T1w and T2w by their names, 0 single scans."
    assert min(found.parameters, found.flops_per_step, found.memory_bytes) > 0


def test_the_shape_of_whole_volumes_is_planned_as_it_is_trained(inputs: Inputs) -> None:
    *_, stage = translation_stages(WHOLE, inputs)
    assert isinstance(stage, Stage)
    (planned,) = {plan_translation(WHOLE, inputs).shape}
    trained = tuple(stage.dataset.sample(0, torch.Generator())["t1"].shape)
    assert planned == trained
    assert all(side % WHOLE.legal == 0 for side in planned[1:])


@pytest.fixture(scope="module")
def unpaired(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Return T1w and larger T2w scans of other heads."""
    folder = tmp_path_factory.mktemp("unpaired")
    for seed in range(10):
        role = "t1" if seed < 5 else "t2"
        volume = head(seed)[role == "t2"]
        if role == "t2":
            volume = volume.with_array(volume.array.repeat(2, axis=0))
        (folder / role).mkdir(exist_ok=True)
        nifti.write(volume, folder / role / f"head-{seed}.nii.gz")
    return gather(FAMILY, {role: [folder / role] for role in ("t1", "t2")}, TINY)


def test_the_plan_of_single_scans_is_that_of_the_largest(unpaired: Inputs) -> None:
    *_, stage = translation_stages(WHOLE, unpaired)
    assert isinstance(stage, Stage)
    trained = tuple(stage.dataset.sample(0, torch.Generator())["t1"].shape)
    assert plan_translation(WHOLE, unpaired).shape == trained


def test_single_scans_can_be_previewed(unpaired: Inputs) -> None:
    *_, found = preview_translation_data(TINY, unpaired)
    assert isinstance(found, DataPreview)
    assert found.montage.array.any()


def test_every_saving_is_legal_and_smaller_parts_need_less_memory(inputs: Inputs) -> None:
    needed = plan_translation(LARGE, inputs).memory_bytes
    for title, changes in memory_savings(LARGE):
        assert title
        smaller = LARGE.with_values(dict(changes))
        if changes.keys() & {"batch_size", "width"}:
            assert plan_translation(smaller, inputs).memory_bytes < needed, title


def test_previews_need_less_memory_than_training() -> None:
    side = round(PREVIEW_TILE * QUICK.patch)
    (network, *_) = build_translators(QUICK).values()
    shape = (QUICK.patch,) * 3
    batch = {name: torch.zeros(1, 1, *shape) for name in ("t1", "t2", "mask")}
    samples = TrainingSamples(shape, has_pairs=True)
    cost = measure_step(lambda: (cycle_task(QUICK, samples), {**batch, "paired": torch.ones(1)}))
    assert measure_call(network, (1, 1, side, side, side)) < cost.activation_bytes


@pytest.mark.parametrize("changes", [{"patch": 32}, {"patch": 0, "pool": 8}])
def test_a_saved_state_fits_what_a_run_steps_down_to(
    changes: dict[str, int], inputs: Inputs, tmp_path: Path
) -> None:
    config = LARGE.with_values(changes)
    save_state(tmp_path, state_of(config, inputs))
    kept = [(t, c) for t, c in memory_savings(config) if not c.keys() & {"width", "levels"}]
    assert len(kept) > 2
    for title, saving in kept:
        found = load_state(tmp_path, state_of(config.with_values(dict(saving)), inputs))
        assert found == (3, []), title


def state_of(config: CycleGanConfig, inputs: Inputs) -> StageState:
    *_, stage = translation_stages(config, inputs)
    assert isinstance(stage, Stage)
    shipped = {name: stage.task.networks[name] for name in stage.task.shipped}
    return StageState(0, stage, WeightAverage(shipped, 0.9), step=3)


def test_savings_come_to_an_end() -> None:
    config, tried = PUBLISHED, 0
    while found := memory_savings(config):
        config, tried = config.with_values(dict(found[0][1])), tried + 1
        assert tried < 100
    assert config.checkpointing
    assert config.width < 8


def test_a_preview_shows_both_contrasts_side_by_side(inputs: Inputs) -> None:
    *_, found = preview_translation_data(TINY, inputs)
    assert isinstance(found, DataPreview)
    assert found.montage.array.shape == (8, 1, 16, 32)
    assert np.isfinite(found.montage.array).all()
    assert set(found.train) == set(inputs.split.train)


def test_a_state_with_the_names_of_earlier_versions_is_loaded(
    inputs: Inputs, tmp_path: Path
) -> None:
    """They called a discriminator a judge, and its last layer an opinion."""

    def renamed(values: dict[str, object]) -> dict[str, object]:
        return {
            key.replace("discriminator", "judge").replace("logits", "opinion"): value
            for key, value in values.items()
        }

    state, other = state_of(WHOLE, inputs), state_of(WHOLE.with_values({"seed": 1}), inputs)
    path = save_state(tmp_path, state)
    content = torch.load(path, weights_only=True)
    for part in ("networks", "optimizers"):
        content[part] = renamed(content[part])
    content["networks"] = {name: renamed(own) for name, own in content["networks"].items()}
    assert "opinion.weight" in content["networks"]["judge_t1"]
    torch.save(content, path)
    assert load_state(tmp_path, other) == (3, [])
    for name, network in state.stage.task.networks.items():
        for key, value in network.state_dict().items():
            loaded = other.stage.task.networks[name].state_dict()[key]
            assert torch.equal(value, loaded), (name, key)
