"""What a training step will cost, found without computing it.

A step runs on fake tensors, which have a shape but no values: every operation's work is counted,
and every tensor's life, so the peak is that of the real step.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from napari_mrgen.engine.task import Batch, Draws, Task
from napari_mrgen.engine.team import in_precision

Layer = tuple[str, str, int]
"""Name, output shape, parameters."""

_ALLOCATOR = 1.3
"""Allocators keep more than is used: blocks are rounded up, kernels need workspace and casts."""


@dataclass(frozen=True)
class Cost:
    """What one training step needs."""

    flops: int
    """Floating point operations, a multiplication and an addition counted as two."""
    parameters: int
    activation_bytes: int
    """Peak of what lives beside weights, gradients and optimizer states."""
    memory_bytes: int
    """Peak in all, with averaged weights and what the allocator keeps."""
    layers: tuple[Layer, ...]


def measure_step(
    build: Callable[[], tuple[Task, Batch]], autocast: torch.dtype | None = None, step: int = 0
) -> Cost:
    """Count the work and the memory of a training step.

    Parameters
    ----------
    build
        Makes the task of a stage, and a batch of any values; called where tensors have no values,
        so that it costs no memory. A step must not read a value (``float(loss)``).
    autocast
        ``torch.bfloat16`` where the training will use it.
    step
        The one to measure, where steps differ: the dearest.
    """
    ledger = _Ledger()
    with FakeTensorMode(allow_non_fake_inputs=True), ledger:
        task, batch = build()
        rows: dict[str, Layer] = {}
        for network in task.networks.values():
            network.forward = in_precision(network.forward, autocast)
        with _listed(task.networks, rows), _without_optimizers(task):
            task.step(batch, step, Draws((0,)))
    weights = sum(_bytes(network) for network in task.networks.values())
    kept = sum(_state_bytes(optimizer) for optimizer in task.optimizers.values())
    averaged = sum(_bytes(task.networks[name]) for name in task.shipped)
    activations = max(0, ledger.peak - 2 * weights)
    return Cost(
        flops=ledger.flops,
        parameters=sum(p.numel() for n in task.networks.values() for p in n.parameters()),
        activation_bytes=activations,
        memory_bytes=int(_ALLOCATOR * (max(ledger.peak, 2 * weights) + kept + averaged)),
        layers=tuple(rows.values()),
    )


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, and follows every storage from birth to end for the peak of their bytes.

    torch's own `FlopCounterMode` has these formulas too, but forbids penalties on gradients.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.flops += formula(*args, **kwargs, out_val=result)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._meet(leaf.untyped_storage())
        return result

    def _meet(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._part, key, size)

    def _part(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


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


def _bytes(network: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in network.parameters())


def _state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of the moments that an optimizer keeps: two for Adam's kin, one or none for SGD."""
    total = 0
    for group in optimizer.param_groups:
        moments = 2 if "betas" in group else int(bool(group.get("momentum")))
        total += moments * sum(p.numel() * p.element_size() for p in group["params"])
    return total
