"""Completing slices: only the codes under a mask are drawn anew."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from napari_mrgen.engine.task import Draws, Networks
from napari_mrgen.families.vqvae.networks import decode, encode
from napari_mrgen.families.vqvae.sampling import fill_codes

_REACH = (3, 7, 15, 31, 63, 127, 255)
"""Widths in pixels of the neighbourhoods that a masked pixel is filled in from, in turn."""


def complete_slices(
    networks: Networks,
    images: Tensor,
    masks: Tensor,
    told: Tensor,
    draws: Sequence[Draws],
    steps: int = 12,
    temperature: float = 1.0,
) -> Tensor:
    """Return slices ``(n, y, x)`` in which what is under ``masks`` is drawn anew.

    What was there is not looked at: it is filled in smoothly before the slice is coded, and every
    code that stands for a masked pixel is hidden from the prior.
    """
    indices = encode(networks, fill_in(images, masks)[:, None])
    factor = images.shape[-1] // indices.shape[-1]
    hidden = functional.max_pool2d(masks[:, None].float(), factor)[:, 0] > 0
    found = fill_codes(networks, indices, hidden, told, draws, steps, temperature)
    return torch.where(masks, decode(networks, found)[:, 0], images)


def fill_in(images: Tensor, masks: Tensor) -> Tensor:
    """Fill masked pixels of ``(n, y, x)`` with the mean of known ones near them."""
    filled, known = images.masked_fill(masks, 0), (~masks).float()
    for width in _REACH:
        weight = functional.avg_pool2d(known[:, None], width, 1, width // 2)[:, 0]
        total = functional.avg_pool2d((filled * known)[:, None], width, 1, width // 2)[:, 0]
        near = (known == 0) & (weight > 0)
        filled = torch.where(near, total / weight.clamp(min=1e-6), filled)
        known = torch.where(near, 1.0, known)
    return filled
