"""A step is measured as it would be, without being computed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from napari_mrgen.engine.device import Precision
from napari_mrgen.engine.memory.measure import Cost, measure_call, measure_step
from napari_mrgen.engine.task import Batch, Draws, Task
from tests.engine import toy


class Plain(Task):
    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        image = batch["image"]
        noisy = image + torch.randn(image.shape, generator=draws("noise"))
        loss = (self.networks["net"](noisy) - image).square().mean()
        self.update("adam", loss)
        return {"loss": loss.detach()}


def measure(size: int, width: int = 8, depth: int = 4, precision: Precision = "32-true") -> Cost:
    def build() -> tuple[Task, Batch]:
        layers: list[nn.Module] = [nn.Conv3d(1, width, 3, padding=1)]
        for _ in range(depth):
            layers += [nn.ReLU(), nn.Conv3d(width, width, 3, padding=1)]
        net = nn.Sequential(*layers, nn.Conv3d(width, 1, 1))
        task = Plain({"net": net}, {"adam": torch.optim.Adam(net.parameters())}, ("net",))
        return task, {"image": torch.zeros(2, 1, size, size, size)}

    return measure_step(build, precision)


def test_flops_are_those_of_the_convolutions() -> None:
    size, width, depth = 16, 8, 4
    forward = 2 * 2 * size**3 * (27 * width + depth * 27 * width**2 + width)
    first_input_gradient = 2 * 2 * size**3 * 27 * width  # The image needs none.
    assert measure(size, width, depth).flops == 3 * forward - first_input_gradient


def test_activations_grow_with_the_image_and_weights_do_not() -> None:
    small, large = measure(16), measure(32)
    assert small.parameters == large.parameters
    assert large.activation_bytes == pytest.approx(8 * small.activation_bytes, rel=0.05)


def test_bfloat16_needs_less() -> None:
    assert measure(64, precision="bf16-mixed").memory_bytes < 0.7 * measure(64).memory_bytes


def test_activations_are_at_least_what_backward_needs() -> None:
    kept = 2 * 4 * 32**3 * 8 * 4  # The output of every convolution but the last, float32.
    assert kept < measure(32).activation_bytes < 3 * kept


def test_a_step_of_many_networks_and_updates() -> None:
    def build() -> tuple[Task, Batch]:
        networks = toy.build(toy.ToyConfig())
        optimizers = {n: torch.optim.Adam(net.parameters()) for n, net in networks.items()}
        task = toy.Second(dict(networks), dict(optimizers), ("predictor",))
        return toy._configured(task, toy.ToyConfig()), {"image": torch.zeros(4, 1, 8, 8)}

    cost = measure_step(build)
    assert cost.flops > 0
    names = [name for name, _, _ in cost.layers]
    assert names[:2] == ["predictor.body (Conv2d)", "predictor.norm (BatchNorm2d)"]
    assert cost.layers[0] == ("predictor.body (Conv2d)", "4 x 4 x 8 x 8", 40)
    assert sum(parameters for _, _, parameters in cost.layers) == cost.parameters


def test_a_penalty_on_gradients() -> None:
    class Penalised(Plain):
        def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
            image = batch["image"].requires_grad_()
            opinion = self.networks["net"](image).sum()
            (gradient,) = torch.autograd.grad(opinion, image, create_graph=True)
            self.update("adam", opinion + gradient.square().mean())
            return {}

    def build(kind: type[Task]) -> tuple[Task, Batch]:
        net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 3, padding=1))
        task = kind({"net": net}, {"adam": torch.optim.Adam(net.parameters())}, ("net",))
        return task, {"image": torch.zeros(2, 1, 16, 16)}

    plain, penalised = (measure_step(partial(build, kind)) for kind in (Plain, Penalised))
    assert penalised.flops > 1.5 * plain.flops


def test_what_does_not_fit_the_machine_is_measured_all_the_same() -> None:
    assert measure(1024, width=256).memory_bytes > 1 << 42


MAP = 4 * 8 * 16**3
"""Bytes of 8 channels of a volume of 16."""


def test_a_call_needs_what_it_takes_and_what_it_gives() -> None:
    assert measure_call(torch.exp, (1, 8, 16, 16, 16)) == 2 * MAP
    assert measure_call(lambda image: image, (1, 8, 16, 16, 16)) == MAP


@pytest.mark.parametrize("depth", [3, 30])
def test_a_call_keeps_nothing_for_gradients_and_counts_no_weights(depth: int) -> None:
    """Three at once: what was given, what a layer takes, what it makes."""
    network = nn.Sequential(*(nn.PReLU() for _ in range(depth)))
    with torch.inference_mode():  # As results are made.
        assert measure_call(network, (1, 8, 16, 16, 16)) == 3 * MAP
    heavy = nn.Conv2d(256, 256, 3, padding=1)  # 2.25 MiB of weights.
    assert measure_call(heavy, (1, 256, 3, 3)) < 1 << 20


def test_a_call_leaves_the_network_as_it_was() -> None:
    network = nn.Conv3d(1, 2, 3, padding=1)
    before = network(torch.ones(1, 1, 4, 4, 4))
    measure_call(network, (1, 1, 64, 64, 64))
    assert torch.equal(network(torch.ones(1, 1, 4, 4, 4)), before)
