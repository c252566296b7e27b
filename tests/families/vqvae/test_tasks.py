from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from napari_mrgen import families
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit, resume
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.model_header import read_header
from napari_mrgen.engine.run.state import saved_states
from napari_mrgen.engine.task import Draws
from napari_mrgen.families.vqvae import FAMILY
from napari_mrgen.families.vqvae.config import TINY, VqVaeConfig
from napari_mrgen.families.vqvae.networks import autoencoder, decode, encode
from napari_mrgen.families.vqvae.prior_tasks import (
    CONDITION_DROPOUT,
    drop_conditions,
    hidden_loss,
    hide,
)
from napari_mrgen.families.vqvae.tasks import TextureTask, VqVaeTask, crop
from napari_mrgen.families.vqvae.training import slice_data
from napari_mrgen.metrics.images import spectral_distance
from napari_mrgen.nn.discriminators import PatchDiscriminator
from tests.families.vqvae.conftest import DCGAN, build

EARLY = TINY.with_values(
    {
        "vqvae_steps": 200,
        "stop_at": 1.5,
        "texture_steps": 0,
        "prior_steps": 3,
        "save_every": 200,
        "preview_every": 200,
    }
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestFirstStage:
    @pytest.mark.parametrize("network", ["residual", "published"])
    def test_its_loss_falls(self, network: str, heads: Inputs) -> None:
        config = TINY.with_values({"network": network, "vqvae_steps": 40})
        torch.manual_seed(0)
        task = VqVaeTask(config, autoencoder(config), slice_data(config, heads))
        losses = self.train(task, 40)
        assert sum(losses[-5:]) < 0.8 * sum(losses[:5])

    def test_parts_of_slices_come_first(self, heads: Inputs) -> None:
        config = TINY.with_values({"size": 64, "patch": 32})
        torch.manual_seed(0)
        task = VqVaeTask(config, autoencoder(config), slice_data(config, heads))
        sizes: list[int] = []
        task.networks["encoder"].register_forward_pre_hook(
            lambda _, inputs: sizes.append(inputs[0].shape[-1])
        )
        self.train(task, 12)
        assert sizes == sorted(sizes)
        assert {32, 64} == set(sizes)

    def test_a_slice_without_a_head_does_not_spoil_the_figures(
        self, tiny: dict[str, nn.Module], heads: Inputs
    ) -> None:
        data = slice_data(TINY, heads)
        task = VqVaeTask(TINY, autoencoder(TINY), data)
        head = data.test_slices.images([4])[:, None]
        one, both = (
            task.evaluate(tiny, {"image": images})
            for images in (head, torch.cat([head, torch.zeros_like(head)]))
        )
        assert both["SSIM in head"] == pytest.approx(one["SSIM in head"], rel=1e-4)

    def train(self, task: VqVaeTask, steps: int) -> list[float]:
        images = torch.stack([task.data.train_slices.images([i])[0] for i in range(4)])[:, None]
        batch = {"image": images, "conditions": torch.zeros(4, 4)}
        return [
            float(task.step(batch, step, Draws(("train", step)))["reconstruction"])
            for step in range(steps)
        ]


def test_crops_are_parts_of_their_image():
    images = torch.arange(2 * 16 * 16, dtype=torch.float).view(2, 1, 16, 16)
    parts = crop(images, 6, generator())
    assert parts.shape == (2, 1, 6, 6)
    for part, image in zip(parts[:, 0], images[:, 0], strict=True):
        y, x = divmod(int(part[0, 0] - image[0, 0]), 16)
        assert torch.equal(part, image[y : y + 6, x : x + 6])
    assert crop(images, 16, generator()) is images


class TestTexture:
    def test_only_the_painting_of_codes_changes(self, heads: Inputs) -> None:
        config = TINY.with_values({"texture_steps": 4})
        built, data = build(config), slice_data(config, heads)
        before = {name: parameters(network) for name, network in built.items()}
        built["decoder"].requires_grad_(True)
        task = TextureTask(config, built, PatchDiscriminator(1, 8), data)
        images = data.train_slices.images(range(4))[:, None]
        for step in range(4):
            losses = task.step({"image": images}, step, Draws(("train", step)))
        assert losses.keys() == {"reconstruction", "texture", "discriminator"}
        changed = {n for n in built if not torch.equal(before[n], parameters(built[n]))}
        assert changed == {"decoder"}

    def test_it_brings_the_spectrum_nearer(self, heads: Inputs) -> None:
        """Flat pictures get the fine structure of the real ones."""
        config = TINY.with_values({"texture_steps": 60, "texture_weight": 3.0, "width": 16})
        built, data = build(config), slice_data(config, heads)
        built["decoder"].requires_grad_(True)
        torch.manual_seed(0)
        task = TextureTask(config, built, PatchDiscriminator(1, 8), data)
        images = data.train_slices.images(range(4))[:, None]

        def distance() -> float:
            with torch.no_grad():
                painted = decode(built, encode(built, images))
            return float(spectral_distance(painted[:, 0], images[:, 0]))

        before = distance()
        for step in range(60):
            task.step({"image": images}, step, Draws(("train", step)))
        assert distance() < 0.5 * before


def parameters(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in network.state_dict().values()])


class TestHiding:
    def test_all_shares_occur_and_most_codes_are_hidden(self):
        share = hide(torch.zeros(500, 8, 8), generator()).float().mean((1, 2))
        assert share.min() < 0.1
        assert share.max() == 1
        assert float(share.mean()) == pytest.approx(2 / torch.pi, abs=0.05)

    def test_the_loss_is_that_of_the_hidden(self):
        indices = torch.randint(5, (2, 4, 4), generator=generator())
        hidden = torch.rand(2, 4, 4, generator=generator(1)) < 0.5
        logits = torch.randn(2, 5, 4, 4, generator=generator(2))
        rest = torch.where(hidden[:, None], logits, torch.zeros_like(logits))
        assert torch.equal(hidden_loss(logits, indices, hidden), hidden_loss(rest, indices, hidden))

    def test_level_is_never_forgotten(self):
        conditions = torch.ones(1000, 4)
        kept = drop_conditions(conditions, generator())
        assert (kept[:, 0] == 1).all()
        assert float((kept[:, 3] == 0).float().mean()) == pytest.approx(CONDITION_DROPOUT, abs=0.05)
        assert torch.equal(kept[:, 1], kept[:, 2])


def train(config: VqVaeConfig, inputs: Inputs, run: Path, **options: object) -> list[events.Event]:
    return list(fit(FAMILY, config, inputs, run, Control(), device="cpu", **options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def early(heads: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose first stage stopped at its threshold."""
    run = tmp_path_factory.mktemp("early") / "run"
    last = train(EARLY, heads, run)[-1]
    assert isinstance(last, events.Finished), last
    return run


def test_the_first_stage_stops_at_its_threshold(early: Path) -> None:
    assert 99 <= read_header(early / "model-vqvae.safetensors").step < 200


def test_stopped_before_the_threshold_it_ends_at_the_same_step(
    early: Path, heads: Inputs, tmp_path: Path
) -> None:
    run, control = tmp_path / "run", Control()
    for event in fit(FAMILY, EARLY, heads, run, control, device="cpu"):
        if isinstance(event, events.Stepped) and event.step > 60:
            control.stop()
    assert isinstance(event, events.Stopped)
    assert isinstance(list(resume(run, families.get, Control()))[-1], events.Finished)
    one, other = (
        torch.load(saved_states(folder / "checkpoints")[0].path) for folder in (early, run)
    )
    assert read_header(run / "model-vqvae.safetensors") == read_header(
        early / "model-vqvae.safetensors"
    )
    compare_states(one["networks"], other["networks"])


def test_a_first_stage_is_used_again_for_another_prior(
    early: Path, heads: Inputs, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    seen = train(DCGAN, heads, run, only_stage="prior", start_from=early)
    assert isinstance(seen[-1], events.Finished), seen[-1]
    kept, found = (
        torch.load(saved_states(folder / "checkpoints")[0].path)["networks"]
        for folder in (early, run)
    )
    assert "generator" in found
    for name in ("encoder", "codebook", "decoder"):
        compare_states(kept[name], found[name])


def compare_states(one: dict[str, object], other: dict[str, object]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, Tensor):
            assert torch.equal(value, other[name]), name  # type: ignore[arg-type]
        else:
            compare_states(value, other[name])  # type: ignore[arg-type]
