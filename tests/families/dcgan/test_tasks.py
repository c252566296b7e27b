from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.engine.task import Draws
from napari_mrgen.families.dcgan.config import TINY, DcganConfig
from napari_mrgen.families.dcgan.tasks import (
    GanTask,
    adversarial_weight_at,
    drop_conditions,
    learning_rate_share,
    resolution_at,
)
from napari_mrgen.families.dcgan.training import slice_gan_stages
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference
from napari_mrgen.samples import brain


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    path = tmp_path_factory.mktemp("heads") / "head.nii.gz"
    nifti.write(brain(0)[0], path)
    return Inputs({"slices": (Reference(path, "head"),)}, Split(("head",), ()))


def test_the_noise_is_found_by_what_is_drawn_not_by_the_encoder(inputs: Inputs) -> None:
    """Of the loss of the latent regression loss, the encoder learns nothing."""
    config = TINY.with_values(
        {
            "reconstruction_share": 0.0,
            "reconstruction_weight": 1e-9,
            "spectral_weight": 0.0,
            "latent_regression_weight": 1e3,
        }
    )
    torch.manual_seed(0)
    task = next(iter(slice_gan_stages(config, inputs))).task
    assert isinstance(task, GanTask)
    images, conditions = torch.rand(4, 1, 64, 64), torch.zeros(4, 4)
    losses = task.step({"image": images, "conditions": conditions}, 0, Draws((0,)))
    assert losses["latent regression"] > 0
    pulls = {name: _pull(task.networks[name]) for name in ("generator", "encoder")}
    assert pulls["encoder"] < 1e-3 * pulls["generator"]
    assert all(p.requires_grad for p in task.networks["encoder"].parameters())


def _pull(network: nn.Module) -> float:
    found = [p.grad.square().sum() for p in network.parameters() if p.grad is not None]
    return float(torch.stack(found).sum().sqrt())


def test_training_goes_from_coarse_to_fine() -> None:
    config = DcganConfig(size=128, coarse_share=0.6)
    sizes = [resolution_at(step / 10, config) for step in range(10)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 32
    assert sizes[3] == 64
    assert sizes[6] == 128
    assert resolution_at(0.0, config.with_values({"coarse_share": 0.0})) == 128


@pytest.mark.parametrize("constant", [0.0, 0.6, 1.0])
def test_the_rate_never_rises_and_never_ends(constant: float) -> None:
    rates = [learning_rate_share(step / 100, constant) for step in range(100)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 1
    assert min(rates) > 0.04


def test_the_discriminator_is_heard_late_and_then_wholly() -> None:
    weights = [adversarial_weight_at(step / 100, 0.4) for step in range(100)]
    assert weights == sorted(weights)
    assert weights[40] == 0
    assert 0 < weights[45] < 1
    assert weights[60] == 1
    assert adversarial_weight_at(0.0, 0.0) == 1


def test_age_and_sex_are_hidden_together_and_the_level_never() -> None:
    conditions = torch.tensor([[0.3, 0.4, 1.0, 1.0]]).expand(1000, 4)
    found = drop_conditions(conditions, 0.2, torch.Generator().manual_seed(0))
    hidden = (found[:, 1:] == 0).all(1)
    assert 0.15 < hidden.float().mean() < 0.25
    torch.testing.assert_close(found[~hidden], conditions[~hidden])
    torch.testing.assert_close(found[:, 0], conditions[:, 0])
