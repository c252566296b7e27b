"""What is built from a seed does not depend on other threads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from napari_mrgen.engine.building import DrawingFrom

DRAWERS: dict[str, Callable[[], list[Tensor]]] = {
    "conv": lambda: list(nn.Conv3d(2, 3, 3).parameters()),
    "linear": lambda: list(nn.Linear(3, 4).parameters()),
    "attention": lambda: list(nn.MultiheadAttention(4, 2).parameters()),
    "embedding": lambda: list(nn.Embedding(3, 4).parameters()),
    "lstm": lambda: list(nn.LSTM(3, 4).parameters()),
    "trunc_normal": lambda: [nn.init.trunc_normal_(torch.empty(4))],
    "orthogonal": lambda: [nn.init.orthogonal_(torch.empty(4, 4))],
    "randn": lambda: [torch.randn(3)],
    "rand": lambda: [torch.rand(3)],
    "randperm": lambda: [torch.randperm(9)],
    "randint": lambda: [torch.randint(100, (5,))],
    "randint_low": lambda: [torch.randint(5, 100, (5,))],
    "rand_like": lambda: [torch.rand_like(torch.ones(3))],
    "randint_like": lambda: [torch.randint_like(torch.ones(3), 100)],
    "bernoulli": lambda: [torch.bernoulli(torch.full((30,), 0.5))],
    "multinomial": lambda: [torch.multinomial(torch.ones(9), 5)],
    "dropout": lambda: [nn.functional.dropout(torch.ones(30))],
}


@pytest.mark.parametrize("drawer", DRAWERS.values(), ids=DRAWERS)
def test_the_seed_decides_and_the_global_generator_rests(
    drawer: Callable[[], list[Tensor]],
) -> None:
    before = torch.get_rng_state()
    results = []
    for seed in (3, 3, 4):
        with DrawingFrom(torch.Generator().manual_seed(seed)):
            results.append(drawer())
    assert torch.equal(torch.get_rng_state(), before)
    same, again, other = results
    assert all(torch.equal(a, b) for a, b in zip(same, again, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(same, other, strict=True))


def test_a_generator_that_is_given_is_used() -> None:
    own = torch.Generator().manual_seed(5)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(5))
    with DrawingFrom(torch.Generator().manual_seed(3)):
        assert torch.equal(torch.rand(3, generator=own), expected)
