"""The processes that train one run together, mostly just one.

Lightning Fabric owns devices and processes. Its wrappers of networks are not used: that of several
processes cannot have a network called several times in a step, or frozen for a while, as
adversarial training does, and that of mixed precision forbids `torch.autograd.grad`.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from napari_mrgen.engine.device import Precision, choose_precision
from napari_mrgen.engine.weights import put_channels_last
from napari_mrgen.errors import MrgenError


class Action(enum.IntEnum):
    """What a process is to do next; of several requests the greatest holds for all."""

    CONTINUE = 0
    PAUSE = 1
    STOP = 2


class ProcessGroup:
    """The processes of a run, as seen by one of them."""

    def __init__(self, device: torch.device, precision: str) -> None:
        processes = _processes()
        if precision == "auto" and processes > (1, 1) and device.type == "cpu":
            precision = "32-true"  # Each would measure for itself, and they must be the same.
        self.precision = choose_precision(precision, device)
        self.fabric = _launch(device, *processes)
        self.device = self.fabric.device
        self.rank, self.size = self.fabric.global_rank, self.fabric.world_size
        # Actions are agreed at every step: through gloo, so that no GPU waits for it.
        self._group = dist.new_group(backend="gloo") if self.size > 1 else None

    @property
    def is_first(self) -> bool:
        """Whether this process writes; the others only train."""
        return self.rank == 0

    def agree(self, action: Action) -> Action:
        """Return what all processes do next; all must ask at the same place."""
        if self._group is None:
            return action
        shared = torch.tensor(int(action))
        dist.all_reduce(shared, dist.ReduceOp.MAX, group=self._group)
        return Action(int(shared))

    def check_batch(self, batch_size: int) -> None:
        """Refuse a batch that the processes cannot share evenly."""
        if batch_size % self.size:
            msg = (
                f"{self.size} processes cannot share a batch_size of {batch_size}; "
                f"expected a multiple of {self.size}."
            )
            raise MrgenError(msg)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their mean over the processes, in one message."""
        if self._group is None or not (floats := [t for t in tensors if t.is_floating_point()]):
            return
        flat = torch.cat([tensor.flatten() for tensor in floats])
        dist.all_reduce(flat)
        parts = torch.split(flat / self.size, [tensor.numel() for tensor in floats])
        for tensor, part in zip(floats, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        if self._group is None:
            return
        for parameter in parameters:
            if parameter.grad is None:
                # Another process may have one: all must send the same number of values.
                parameter.grad = torch.zeros_like(parameter)
        self.average(p.grad for p in parameters if p.grad is not None)

    def together(self, function: Callable[..., Tensor], *parts: Tensor) -> Tensor:
        """Call a function with what all processes have, joined along the first axis.

        All must call it at the same place, with parts of the same shape. Returns this process's
        part of the result, which must be as long.
        """
        if self._group is None:
            return function(*parts)
        return function(*map(self._joined, parts)).chunk(self.size)[self.rank]

    def _joined(self, part: Tensor) -> Tensor:
        part = part.contiguous()
        parts = [torch.empty_like(part) for _ in range(self.size)]
        dist.all_gather(parts, part)
        return torch.cat(parts)

    def prepare(self, network: nn.Module) -> None:
        network.to(self.device)
        lay_out(network, self.precision)

    def release(self, network: nn.Module) -> None:
        """Undo `prepare` but for the device: a later stage may copy the network."""
        vars(network).pop("forward", None)

    def leave(self) -> None:
        """Let the others' calls fail rather than wait for ever for this process."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def lay_out(network: nn.Module, precision: Precision) -> None:
    """Put channels last, and let the forward of a network run in the precision."""
    put_channels_last(network)
    network.forward = in_precision(network.forward, precision)


def in_precision(forward: Callable[..., Any], precision: Precision) -> Callable[..., Any]:
    """Let ``forward`` compute in the precision and return float32, in which losses are summed."""
    if precision == "32-true":
        return forward

    @wraps(forward)
    def run(*arguments: Any, **named: Any) -> Any:
        leaves = tree_leaves(arguments)
        device = next((a.device.type for a in leaves if isinstance(a, Tensor)), "cpu")
        # Per call, not around a step: autocast keeps casts of weights, which a step changes.
        with torch.autocast(device, torch.bfloat16):
            output = forward(*arguments, **named)
        return tree_map_only(Tensor, _to_float32, output)

    return run


def _to_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def _launch(device: torch.device, size: int, local: int) -> Fabric:
    if size == 1:
        chosen: Any = 1 if device.type == "cpu" else [device.index or 0]
        return Fabric(accelerator=device.type, devices=chosen)
    fabric = Fabric(
        accelerator=device.type,
        devices=local,
        num_nodes=size // local,
        strategy="ddp",
    )
    # Elsewhere this call would run the program again: inside napari, a second napari.
    fabric.launch()
    return fabric


def _processes() -> tuple[int, int]:
    """Return how many processes a launcher started for this run, in all and on this machine."""
    if TorchElasticEnvironment.detect():
        return int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if SLURMEnvironment.detect():
        size = int(os.environ["SLURM_NTASKS"])
        return size, size // int(os.environ.get("SLURM_NNODES", "1"))
    return 1, 1
