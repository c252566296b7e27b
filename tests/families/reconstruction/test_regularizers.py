"""Regularisation: what is dropped, and what is penalised."""

from __future__ import annotations

import pytest
import torch

from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.networks import reconstructor_networks
from napari_mrgen.families.reconstruction.regularizers import DropBlock, weight_penalty

NAMES = ("none", "l1", "l2", "l1_l2", "batch_norm", "instance_norm", "dropout", "dropblock")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("architecture", ["published", "unet3d_old", "unet2d1d"])
def test_every_network_runs_with_every_regulariser(architecture: str, name: str) -> None:
    config = ReconstructionConfig(network=architecture, regularizer=name, width=2, depth=2)
    network = reconstructor_networks(config, ())["reconstructor"]
    result = network(torch.rand(1, 4, 9, 8, 8), torch.Generator().manual_seed(0))
    assert torch.isfinite(result).all()


@pytest.mark.parametrize("name", ["dropout", "dropblock"])
def test_what_is_dropped_follows_from_the_generator(name: str) -> None:
    torch.manual_seed(0)
    config = ReconstructionConfig(network="published", regularizer=name, width=8, depth=2)
    network = reconstructor_networks(config, ())["reconstructor"]
    x = torch.rand(1, 4, 9, 8, 8)
    one, two = (network(x, torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert not torch.equal(one, network(x))


def test_blocks_are_dropped_whole_and_about_the_share_that_is_asked_for() -> None:
    x = torch.ones(1, 1, 3, 200, 200)
    result = DropBlock(0.1, 5, (False, True, True))(x, torch.Generator().manual_seed(0))
    dropped = result == 0
    assert float(dropped.float().mean()) == pytest.approx(0.1, abs=0.02)
    assert float(result.mean()) == pytest.approx(1, abs=1e-3)
    # In a frame each dropped pixel lies in a row of at least five, those at the edge apart.
    runs = dropped[0, 0, 0, :, 5:-5].float()
    alone = (runs[:, 1:-1] == 1) & (runs[:, :-2] == 0) & (runs[:, 2:] == 0)
    assert not alone.any()


def test_penalties_weigh_kernels_and_not_biases() -> None:
    kernel, bias = torch.full((2, 3), -2.0), torch.full((7,), 9.0)
    penalties = {
        name: float(
            weight_penalty(ReconstructionConfig(regularizer=name, penalty=0.5), [kernel, bias])
        )
        for name in ("none", "l1", "l2", "l1_l2")
    }
    assert penalties == {"none": 0, "l1": 6, "l2": 12, "l1_l2": 18}
