from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_mrgen.families.cyclegan.config import (
    PRESETS,
    PUBLISHED,
    PUBLISHED_DEEP,
    TINY,
    CycleGanConfig,
)
from napari_mrgen.families.cyclegan.networks import (
    Direction,
    build_discriminators,
    build_translators,
)

SMALL_PUBLISHED = PUBLISHED.with_values({"width": 4, "discriminator_width": 4})
SMALL = pytest.mark.parametrize("config", [TINY, SMALL_PUBLISHED], ids=["residual", "published"])


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def weights(network: nn.Module, *, of_convolutions: bool = False) -> int:
    parts = network.modules() if of_convolutions else [network]
    kinds = (nn.Conv3d, nn.ConvTranspose3d)
    return sum(
        parameter.numel()
        for part in parts
        if not of_convolutions or isinstance(part, kinds)
        for parameter in part.parameters()
    )


def test_the_published_networks_have_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        translator, discriminator = (
            build_translators(PUBLISHED)["t1_to_t2"],
            build_discriminators(PUBLISHED)["discriminator_t2"],
        )
        deep, deep_discriminator = (
            build_translators(PUBLISHED_DEEP)["t1_to_t2"],
            build_discriminators(PUBLISHED_DEEP)["discriminator_t2"],
        )
    assert weights(translator, of_convolutions=True) == 353_985
    assert weights(discriminator) == 8_257
    assert weights(deep, of_convolutions=True) == pytest.approx(30.6e6, rel=0.01)
    assert weights(deep_discriminator, of_convolutions=True) == pytest.approx(2.6e6, rel=0.02)


def test_the_published_discriminator_works_at_half_the_resolution() -> None:
    (logits,) = build_discriminators(SMALL_PUBLISHED)["discriminator_t1"](noise(1, 1, 12, 14, 16))
    assert logits.shape == (1, 1, 6, 7, 8)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_builds_without_memory(preset: str) -> None:
    config = PRESETS[preset].config
    with torch.device("meta"):
        built = {**build_translators(config), **build_discriminators(config)}
    assert built.keys() == {"t1_to_t2", "t2_to_t1", "discriminator_t1", "discriminator_t2"}
    assert all(p.is_meta for network in built.values() for p in network.parameters())


def test_transposed_convolutions_are_left_to_the_published_network() -> None:
    with torch.device("meta"):
        built = build_translators(PRESETS["base"].config)["t1_to_t2"]
    assert not any(isinstance(part, nn.ConvTranspose3d) for part in built.modules())


def test_one_direction_has_one_network_and_one_discriminator() -> None:
    config = TINY.with_values({"direction": "t2 to t1"})
    assert build_translators(config).keys() == {"t2_to_t1"}
    assert build_discriminators(config).keys() == {"discriminator_t1"}


def test_a_direction_names_what_it_needs() -> None:
    direction = Direction("t1 to t2")
    assert (direction.source, direction.target, direction.network, direction.inverse_network) == (
        "t1",
        "t2",
        "t1_to_t2",
        "t2_to_t1",
    )
    assert (direction.discriminator, direction.pool, direction.title) == (
        "discriminator_t2",
        "pool_t2",
        "T1w to T2w",
    )


@SMALL
@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 22, 19), (5, 9, 31)])
def test_any_size_is_translated(config: CycleGanConfig, shape: tuple[int, int, int]) -> None:
    translator = build_translators(config)["t1_to_t2"]
    assert translator(noise(2, 1, *shape)).shape == (2, 1, *shape)


def test_an_untrained_translator_changes_nothing() -> None:
    volume = noise(1, 1, 9, 10, 11)
    torch.testing.assert_close(build_translators(TINY)["t2_to_t1"](volume), volume)


@SMALL
def test_checkpointing_changes_no_result(config: CycleGanConfig) -> None:
    kept = build_translators(config)["t1_to_t2"]
    again = build_translators(config.with_values({"checkpointing": True}))["t1_to_t2"]
    again.load_state_dict(kept.state_dict())
    volume = noise(1, 1, 8, 8, 8)
    found = []
    for translator in (kept, again):
        result = translator(volume)
        result.square().sum().backward()
        found.append([result, *(p.grad for p in translator.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@SMALL
def test_a_bfloat16_forward_is_close(config: CycleGanConfig) -> None:
    translator = build_translators(config)["t1_to_t2"]
    volume = noise(1, 1, 16, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        rough = translator(volume)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, translator(volume), atol=0.05, rtol=0.05)
