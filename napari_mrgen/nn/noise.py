"""Random layers whose numbers come from an explicit generator, never from the global one."""

from __future__ import annotations

import torch
from torch import Tensor


def randn_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return standard normal values in the shape of ``x``, drawn on the generator's device."""
    return torch.randn(x.shape, generator=generator, device=generator.device).to(x)


def dropout(x: Tensor, p: float, generator: torch.Generator | None) -> Tensor:
    """Apply dropout with probability ``p``; without a generator it is the identity."""
    if generator is None or p == 0:
        return x
    is_kept = torch.rand(x.shape, generator=generator, device=generator.device) >= p
    return x * is_kept.to(x) / (1 - p)
