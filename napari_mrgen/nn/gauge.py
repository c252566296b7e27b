"""A running mean that is part of the training state."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gauge(nn.Module):
    """Moving average of a figure, kept in buffers: it is saved, and the same in all processes.

    Parameters
    ----------
    length
        Over how many values, about.
    """

    total: Tensor
    weight: Tensor

    def __init__(self, length: int = 100) -> None:
        super().__init__()
        self.length = length
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    @torch.no_grad()
    def forward(self, value: Tensor) -> None:
        """Take in a value."""
        self.total.lerp_(value.to(self.total), 1 / self.length)
        self.weight.lerp_(torch.ones_like(self.weight), 1 / self.length)

    @property
    def is_settled(self) -> bool:
        """Whether enough values were taken in for the mean to say something."""
        return float(self.weight) > 0.63

    @property
    def mean(self) -> float:
        return float(self.total / self.weight)
