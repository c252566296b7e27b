"""Layers that draw, from a generator that is handed to them: nothing draws from a global one."""

from __future__ import annotations

import torch
from torch import Tensor


def randn_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal values in the shape of ``x``, drawn on the generator's device."""
    return torch.randn(x.shape, generator=generator, device=generator.device).to(x)


def dropout(x: Tensor, p: float, generator: torch.Generator | None) -> Tensor:
    """Zero a share ``p`` of the values and scale up the rest; without a generator, do nothing."""
    if generator is None or p == 0:
        return x
    kept = torch.rand(x.shape, generator=generator, device=generator.device) >= p
    return x * kept.to(x) / (1 - p)
