"""The moving average of the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from napari_mrgen.engine.weights import DefaultGenerator, WeightAverage


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def test_it_is_the_weighted_mean_of_what_it_saw() -> None:
    source = network()
    average = WeightAverage({"a": source}, decay=0.9)
    expected = copy.deepcopy(source.state_dict())
    for step in range(1, 200):
        for parameter in source.parameters():
            parameter.data += step
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        for name, _ in source.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * source.state_dict()[name]
    for name, _ in source.named_parameters():
        torch.testing.assert_close(average.networks["a"].state_dict()[name], expected[name])


def test_no_decay_is_a_copy_and_buffers_are_copied() -> None:
    source = network()
    average = WeightAverage({"a": source}, decay=0.0)
    source(torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    average.update(1)
    kept = average.networks["a"].state_dict()
    assert all(torch.equal(kept[key], value) for key, value in source.state_dict().items())


def test_it_neither_trains_nor_shares_memory() -> None:
    source = network()
    average = WeightAverage({"a": source}, decay=0.5)
    kept = average.networks["a"]
    assert source.training
    assert not kept.training
    assert not any(parameter.requires_grad for parameter in kept.parameters())
    addresses = {tensor.data_ptr() for tensor in source.state_dict().values()}
    assert not addresses & {tensor.data_ptr() for tensor in kept.state_dict().values()}


def test_hand_over_gives_the_average_to_the_source() -> None:
    source = network()
    average = WeightAverage({"a": source}, decay=0.5)
    source[0].weight.data += 1
    average.update(1)
    average.hand_over()
    kept = average.networks["a"].state_dict()
    assert all(torch.equal(kept[key], value) for key, value in source.state_dict().items())


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
        with DefaultGenerator(torch.Generator().manual_seed(seed)):
            results.append(drawer())
    assert torch.equal(torch.get_rng_state(), before)
    same, again, other = results
    assert all(torch.equal(a, b) for a, b in zip(same, again, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(same, other, strict=True))


def test_a_generator_that_is_given_is_used() -> None:
    own = torch.Generator().manual_seed(5)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(5))
    with DefaultGenerator(torch.Generator().manual_seed(3)):
        assert torch.equal(torch.rand(3, generator=own), expected)
