"""Precision and layout of networks, as one process sees them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from napari_mrgen.engine.distributed import Action, ProcessGroup, in_precision

CPU = torch.device("cpu")


class Spy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flat, self.deep = nn.Conv2d(2, 3, 3), nn.Conv3d(2, 3, 3)
        self.seen: torch.dtype | None = None

    def forward(self, image: Tensor) -> dict[str, Tensor | str]:
        result = self.flat(image)
        self.seen = result.dtype
        return {"image": result, "name": "kept"}


def test_weights_are_channels_last_and_results_float32() -> None:
    network, group = Spy(), ProcessGroup(CPU, "bf16-mixed")
    group.prepare(network)
    assert network.flat.weight.is_contiguous(memory_format=torch.channels_last)
    assert network.deep.weight.is_contiguous(memory_format=torch.channels_last_3d)
    result = network(torch.zeros(1, 2, 8, 8))
    assert network.seen is torch.bfloat16
    assert result["image"].dtype is torch.float32
    assert result["name"] == "kept"


def test_a_released_network_can_be_copied() -> None:
    network, group = Spy(), ProcessGroup(CPU, "bf16-mixed")
    group.prepare(network)
    group.release(network)
    copied = copy.deepcopy(network)
    copied(torch.zeros(1, 2, 8, 8))
    assert copied.seen is torch.float32
    assert network.seen is None


def test_gradients_of_gradients_pass_through() -> None:
    """As penalties of adversarial training need them."""
    network = nn.Conv2d(1, 1, 3)
    network.forward = in_precision(network.forward, "bf16-mixed")
    image = torch.ones(1, 1, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(image).sum(), image, create_graph=True)
    gradient.square().sum().backward()
    assert network.weight.grad is not None


def test_weights_changed_within_a_step_are_seen() -> None:
    """Autocast keeps casts of weights for as long as it lasts: here, for one call."""
    network = nn.Conv2d(1, 1, 1, bias=False)
    network.forward = in_precision(network.forward, "bf16-mixed")
    before = network(torch.ones(1, 1, 1, 1)).item()
    with torch.no_grad():
        network.weight += 1
    assert network(torch.ones(1, 1, 1, 1)).item() == pytest.approx(before + 1, abs=0.02)


def test_one_process_agrees_with_itself() -> None:
    group = ProcessGroup(CPU, "32-true")
    assert (group.rank, group.size, group.is_first) == (0, 1, True)
    assert all(group.agree(action) is action for action in Action)
    assert group.together(torch.add, torch.ones(2), torch.ones(2)).tolist() == [2, 2]
