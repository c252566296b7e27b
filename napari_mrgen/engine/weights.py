"""The moving average of the weights, which is what is kept as the model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor, nn


class Average:
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
