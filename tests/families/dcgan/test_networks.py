from __future__ import annotations

import pytest
import torch

from napari_mrgen.families.dcgan.config import PRESETS, DcganConfig
from napari_mrgen.families.dcgan.networks import SliceEncoder, discriminator, generator_networks

SMALL = DcganConfig(size=64, width=4, latent=8, modulation_width=16, condition="level, age, sex")


def built(config: DcganConfig = SMALL) -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    return generator_networks(config)["generator"], discriminator(config)


def latents(config: DcganConfig, count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(count, config.latent, generator=generator)
    return noise, torch.rand(count, 4, generator=generator)


def teach(network: torch.nn.Module) -> None:
    """Let every level say something: they start by saying nothing."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def test_the_published_networks_have_their_weights() -> None:
    with torch.device("meta"):
        make, discriminator_network = built(PRESETS["published"].config)
    kept = {name: t for name, t in make.state_dict().items() if "num_batches" not in name}
    assert sum(tensor.numel() for tensor in kept.values()) == 7_842_112
    assert sum(parameter.numel() for parameter in discriminator_network.parameters()) == 337_665


@pytest.mark.parametrize("network", ["residual", "published"])
@pytest.mark.parametrize("size", [64, 128])
def test_slices_have_the_size_that_is_asked_for(network: str, size: int) -> None:
    config = SMALL.with_values({"network": network, "size": size})
    make, discriminator_network = built(config)
    noise, conditions = latents(config)
    images = make(noise, conditions, size)
    assert images.shape == (4, 1, size, size)
    assert discriminator_network(images, conditions).shape == (4,)


def test_finer_levels_change_nothing_before_they_learn() -> None:
    make, _ = built()
    noise, conditions = latents(SMALL)
    coarse, fine = make(noise, conditions, 16), make(noise, conditions, 64)
    assert coarse.std() > 0
    down = torch.nn.functional.avg_pool2d(fine, 4)
    torch.testing.assert_close(down[..., 2:-2, 2:-2], coarse[..., 2:-2, 2:-2], atol=0.1, rtol=0.1)
    find = SliceEncoder(SMALL)
    flat = torch.rand(4, 1, 16, 16).repeat_interleave(4, 2).repeat_interleave(4, 3)
    for one, other in zip(find(flat), find(flat[..., ::4, ::4]), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("condition", "known"), [("none", 0), ("level", 1), ("level, age, sex", 4)]
)
def test_networks_depend_on_their_conditions_alone(condition: str, known: int) -> None:
    config = SMALL.with_values({"condition": condition})
    make, discriminator_network = built(config)
    teach(make)
    teach(discriminator_network)
    noise, conditions = latents(config)
    images = make(noise, conditions, 64)
    for column in range(4):
        other = conditions.clone()
        other[:, column] += 0.3
        assert torch.equal(images, make(noise, other, 64)) == (column >= known)
        assert torch.equal(
            discriminator_network(images, conditions), discriminator_network(images, other)
        ) == (column >= known)
