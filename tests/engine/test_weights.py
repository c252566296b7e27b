"""The moving average of the weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from napari_mrgen.engine.weights import Average


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def test_it_is_the_weighted_mean_of_what_it_saw() -> None:
    source = network()
    average = Average({"a": source}, decay=0.9)
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
    average = Average({"a": source}, decay=0.0)
    source(torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    average.update(1)
    kept = average.networks["a"].state_dict()
    assert all(torch.equal(kept[key], value) for key, value in source.state_dict().items())


def test_it_neither_trains_nor_shares_memory() -> None:
    source = network()
    average = Average({"a": source}, decay=0.5)
    kept = average.networks["a"]
    assert source.training
    assert not kept.training
    assert not any(parameter.requires_grad for parameter in kept.parameters())
    addresses = {tensor.data_ptr() for tensor in source.state_dict().values()}
    assert not addresses & {tensor.data_ptr() for tensor in kept.state_dict().values()}


def test_hand_over_gives_the_average_to_the_source() -> None:
    source = network()
    average = Average({"a": source}, decay=0.5)
    source[0].weight.data += 1
    average.update(1)
    average.hand_over()
    kept = average.networks["a"].state_dict()
    assert all(torch.equal(kept[key], value) for key, value in source.state_dict().items())
