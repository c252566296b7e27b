"""The moving average of the weights, which is what is kept as the model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


class WeightAverage:
    """Exponential moving average of networks.

    The decay grows from 0.1 with the steps, so that early averages do not remember the random
    start; buffers (running statistics, codes) are copied.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        self._sources = networks
        self._decay = decay
        self.networks = {name: copy.deepcopy(network).eval() for name, network in networks.items()}
        for network in self.networks.values():
            network.requires_grad_(False)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        kept, seen = self._parameters
        torch._foreach_lerp_(kept, seen, weight=1 - decay)
        for copied, buffer in self._buffers:
            copied.copy_(buffer)

    @cached_property
    def _parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        # Walking over modules at every step would cost more than the average itself.
        pairs = [(self.networks[name], self._sources[name]) for name in self.networks]
        kept = [p.detach() for network, _ in pairs for p in network.parameters()]
        return kept, [p.detach() for _, network in pairs for p in network.parameters()]

    @cached_property
    def _buffers(self) -> list[tuple[Tensor, Tensor]]:
        pairs = [(self.networks[name], self._sources[name]) for name in self.networks]
        return [b for kept, seen in pairs for b in zip(kept.buffers(), seen.buffers(), strict=True)]

    def hand_over(self) -> None:
        """Put the averaged weights into the trained networks: what later stages start from."""
        for name, network in self.networks.items():
            self._sources[name].load_state_dict(network.state_dict())


class DefaultGenerator(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within this context, this thread's draws on the CPU come from ``generator``.

    The global generator is neither read nor moved, so other threads cannot change what is built.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = generator

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        drawing = _drawing_form(func)
        if drawing is not None and kwargs.get("generator") is None:
            return drawing(*args, **{**kwargs, "generator": self._generator})
        return func(*args, **kwargs)


def _drawing_form(func: Any) -> Callable[..., Any] | None:
    """Return the overload that takes a generator; None for an operation that does not draw."""
    if any(argument.name == "generator" for argument in func._schema.arguments):
        return func  # type: ignore[no-any-return]
    name = "" if func._overloadname == "default" else f"{func._overloadname}_"
    if f"{name}generator" not in func.overloadpacket.overloads():
        return None
    return getattr(func.overloadpacket, f"{name}generator")  # type: ignore[no-any-return]


CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The layout with the channels last, by the number of axes."""


def put_channels_last(network: nn.Module) -> None:
    """Lay the weights out so; a convolution lays what it makes out as its weights."""
    for parameter in network.parameters():
        if (layout := CHANNELS_LAST.get(parameter.ndim)) is not None:
            parameter.data = parameter.data.contiguous(memory_format=layout)
