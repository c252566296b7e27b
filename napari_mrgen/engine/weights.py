"""Weights: their moving average, which is the model, their first values, and their layout."""

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

    `torch.optim.swa_utils.AveragedModel` is not used: its first update copies the weights and its
    decay is fixed, so the averages, and with them the models, would be others.
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
        averages, parameters = self._parameters
        torch._foreach_lerp_(averages, parameters, weight=1 - decay)
        for target, buffer in self._buffers:
            target.copy_(buffer)

    @cached_property
    def _parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        # Kept, since walking over modules at every step would cost more than the average itself.
        averages, parameters = (
            [p.detach() for name in self.networks for p in networks[name].parameters()]
            for networks in (self.networks, self._sources)
        )
        return averages, parameters

    @cached_property
    def _buffers(self) -> list[tuple[Tensor, Tensor]]:
        return [
            pair
            for name, network in self.networks.items()
            for pair in zip(network.buffers(), self._sources[name].buffers(), strict=True)
        ]

    def hand_over(self) -> None:
        """Put the averaged weights into the trained networks: what later stages start from."""
        for name, network in self.networks.items():
            self._sources[name].load_state_dict(network.state_dict())


class DefaultGenerator(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within this context, random operations of this thread on the CPU use ``generator``.

    `torch.nn` initialises weights from the global generator. It is neither read nor moved here, so
    that other threads cannot change what is built.
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
        random = _with_generator(func)
        if random is not None and kwargs.get("generator") is None:
            return random(*args, **{**kwargs, "generator": self._generator})
        return func(*args, **kwargs)


def _with_generator(func: Any) -> Callable[..., Any] | None:
    """Return the overload that takes a generator; None for one that is not random."""
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
