"""What a training step or a call of a network will cost, found without computing it.

It runs on fake tensors, which have a shape but no values: every operation's work is counted, and
every tensor's life, so the peak is near that of the real thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from napari_mrgen.engine.device import Precision
from napari_mrgen.engine.distributed import lay_out
from napari_mrgen.engine.ledger import Ledger
from napari_mrgen.engine.task import Batch, Draws, Task

Layer = tuple[str, str, int]
"""Name, output shape, parameters."""

_BESIDE = 24 << 20
"""What a step needs beside tensors: kernels, its graph, gaps between small blocks; measured."""


@dataclass(frozen=True)
class Cost:
    """What one training step needs."""

    flops: int
    """Floating point operations, a multiplication and an addition counted as two."""
    parameters: int
    activation_bytes: int
    """Peak of what lives beside weights, gradients and optimizer states."""
    memory_bytes: int
    """Peak in all, with averaged weights; `napari_mrgen.engine.heap` tells what may be added."""
    layers: tuple[Layer, ...]


def measure_step(
    build: Callable[[], tuple[Task, Batch]], precision: Precision = "32-true", step: int = 0
) -> Cost:
    """Count the work and the memory of a training step.

    Parameters
    ----------
    build
        Makes the task of a stage, and a batch of any values; called where tensors have no values,
        so that it costs no memory. A step must not read a value (``float(loss)``).
    precision
        That of the training.
    step
        The one to measure, where steps differ: the dearest.
    """
    ledger = Ledger()
    rows: dict[str, Layer] = {}
    with FakeTensorMode(allow_non_fake_inputs=True), ledger:
        task, batch = build()
        with _standing(task, precision):
            flops, resting = ledger.flops, ledger.now - _total(batch.values())
            with _listed(task.networks, rows), _without_optimizers(task):
                task.step(batch, step, Draws((0,)))
    return Cost(
        flops=ledger.flops - flops,
        parameters=sum(p.numel() for n in task.networks.values() for p in n.parameters()),
        activation_bytes=max(0, ledger.peak - resting),
        memory_bytes=ledger.peak + _BESIDE,
        layers=tuple(rows.values()),
    )


def measure_call(
    function: Callable[[Tensor], Any],
    shape: tuple[int, ...],
    device: torch.device | str = "cpu",
) -> int:
    """Return the bytes at the peak of a call without gradients: input and output, but no weights.

    What is made of weights counts, such as their casts to bfloat16.

    Parameters
    ----------
    function
        Such as a network on ``device``. It gets a tensor without values, and must not read one.
    shape
        Of the float32 tensor that it gets.
    """
    ledger = Ledger()
    with FakeTensorMode(allow_non_fake_inputs=True), ledger, torch.no_grad():
        function(torch.zeros(shape, device=device))
    return ledger.peak


@contextmanager
def _standing(task: Task, precision: Precision) -> Iterator[None]:
    """Lay networks out as a run does, beside what it keeps of them from its first step on."""
    kept: list[Tensor] = []
    for name, network in task.networks.items():
        if name in task.shipped:
            kept += [torch.zeros_like(t) for t in (*network.parameters(), *network.buffers())]
        lay_out(network, precision)
    for optimizer in task.optimizers.values():
        for group in optimizer.param_groups:
            moments = 2 if "betas" in group else int(bool(group.get("momentum")))
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
                kept += [torch.zeros_like(parameter) for _ in range(moments)]
    yield
    kept.clear()


@contextmanager
def _listed(networks: Mapping[str, nn.Module], rows: dict[str, Layer]) -> Iterator[None]:
    """Note every layer's output shape when it is first called."""
    with ExitStack() as stack:
        for name, network in networks.items():
            for part, module in network.named_modules():
                if not any(module.children()):
                    note = partial(_note, rows, f"{name}.{part}")
                    stack.callback(module.register_forward_hook(note).remove)
        yield


def _note(rows: dict[str, Layer], name: str, module: nn.Module, _: Any, output: Any) -> None:
    if isinstance(output, Tensor) and name not in rows:
        shape = " x ".join(map(str, output.shape))
        parameters = sum(p.numel() for p in module.parameters())
        rows[name] = (f"{name} ({type(module).__name__})", shape, parameters)


@contextmanager
def _without_optimizers(task: Task) -> Iterator[None]:
    """Only back-propagate: optimizers read values, and their memory is known beforehand."""

    def update(optimizer: str, loss: Tensor) -> None:
        task.optimizers[optimizer].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]

    vars(task)["update"] = update
    try:
        yield
    finally:
        del vars(task)["update"]


def _total(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
