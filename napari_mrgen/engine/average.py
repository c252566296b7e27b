"""The moving average of the weights, which is what is kept as the model."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn


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
        for name, network in self.networks.items():
            source = self._sources[name]
            torch._foreach_lerp_(
                list(network.parameters()), list(source.parameters()), weight=1 - decay
            )
            for kept, seen in zip(network.buffers(), source.buffers(), strict=True):
                kept.copy_(seen)

    def hand_over(self) -> None:
        """Put the averaged weights into the trained networks: what later stages start from."""
        for name, network in self.networks.items():
            self._sources[name].load_state_dict(network.state_dict())
