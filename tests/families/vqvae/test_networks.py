from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_mrgen.families.vqvae.config import TINY, VqVaeConfig
from napari_mrgen.families.vqvae.networks import codebook, decode, encode, shade
from napari_mrgen.families.vqvae.transformer import CodeTransformer
from tests.families.vqvae.conftest import DCGAN, build

CONFIGS = {
    "f4": TINY,
    "f8": TINY.with_values({"factor": 8}),
    "published": TINY.with_values({"network": "published"}),
    "blocks of codes": TINY.with_values({"size": 128}),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> VqVaeConfig:
    return CONFIGS[request.param]


def test_a_code_stands_for_a_square_of_pixels(config: VqVaeConfig) -> None:
    networks = build(config)
    images = torch.rand(2, 1, config.size, config.size, generator=generator())
    indices = encode(networks, images)
    assert indices.shape == (2, config.side, config.side)
    painted = decode(networks, indices)
    assert painted.shape == images.shape
    assert painted.min() >= 0
    assert painted.max() <= 1


def test_any_size_can_be_coded():
    networks = build(TINY)
    indices = encode(networks, torch.rand(1, 1, 40, 24, generator=generator()))
    assert decode(networks, indices).shape == (1, 1, 40, 24)


def test_codes_are_shown_along_one_direction(tiny: dict[str, nn.Module]) -> None:
    book = codebook(tiny)
    indices = torch.arange(16).view(1, 4, 4)
    shown = shade(book.embed(indices), book, 4)
    assert shown.shape == (1, 1, 16, 16)
    # The projections of codes and of maps are summed in another order.
    assert float(shown.min()) == pytest.approx(0, abs=1e-6)
    assert float(shown.max()) == pytest.approx(1, abs=1e-6)
    assert torch.equal(shown[0, 0, ::4, ::4], shown[0, 0, 3::4, 3::4])


class TestTransformer:
    def test_it_names_every_code(self, config: VqVaeConfig) -> None:
        networks = build(config)
        indices = torch.zeros(2, config.side, config.side, dtype=torch.long)
        hidden = torch.ones_like(indices, dtype=torch.bool)
        logits = networks["transformer"](
            indices, hidden, torch.rand(2, 4), codebook(networks).codes
        )
        assert logits.shape == (2, config.codes, config.side, config.side)

    def test_it_does_not_see_what_is_hidden(self):
        torch.manual_seed(0)
        network = CodeTransformer(CONFIGS["blocks of codes"])
        one, other = torch.randint(16, (2, 1, 32, 32), generator=generator())
        hidden = torch.rand(1, 32, 32, generator=generator(1)) < 0.5
        conditions = torch.rand(1, 4, generator=generator(2))
        mixed = torch.where(hidden, other, one)
        rest = (conditions, torch.randn(16, 4, generator=generator(3)))
        assert torch.equal(network(one, hidden, *rest), network(mixed, hidden, *rest))
        assert not torch.equal(network(one, ~hidden, *rest), network(mixed, ~hidden, *rest))

    def test_it_listens_to_what_it_is_told(self):
        torch.manual_seed(0)
        network = CodeTransformer(TINY)
        indices = torch.zeros(1, 8, 8, dtype=torch.long)
        hidden = torch.ones_like(indices, dtype=torch.bool)
        codes = torch.randn(16, 4, generator=generator())
        conditions = torch.tensor([[0.0, 0, 0, 0], [1.0, 0, 0, 0]])
        logits = [network(indices, hidden, each[None], codes) for each in conditions]
        assert not torch.equal(*logits)


@pytest.mark.parametrize("size", [32, 48, 64, 128])
def test_the_generator_and_its_discriminator_fit_any_map(size: int) -> None:
    from napari_mrgen.families.vqvae.published import NOISE, CodeDiscriminator

    config = DCGAN.with_values({"size": size})
    drawn = build(config)["generator"](
        torch.randn(2, NOISE, generator=generator()), torch.ones(2, 4)
    )
    assert drawn.shape == (2, config.code_size, config.side, config.side)
    judge = CodeDiscriminator(config.side, config.code_size, 8)
    assert judge(drawn, torch.ones(2, 4)).shape == (2,)
