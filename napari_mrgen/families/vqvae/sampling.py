"""Sampling of maps of codes: by the masked transformer iteratively, or by the generator."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from napari_mrgen.engine.task import Draws, Networks
from napari_mrgen.families.vqvae.networks import codebook, decode, encode
from napari_mrgen.families.vqvae.published import NOISE

_REACH = (3, 7, 15, 31, 63, 127, 255)
"""Widths in pixels of the neighbourhoods from which masked pixels are filled in, in turn."""
CHOICE_TEMPERATURE = 4.5
"""Randomness in the choice of the codes that are kept; it falls to 0 with the last iteration."""


def sample_codes(
    networks: Networks,
    conditions: Tensor,
    draws: Sequence[Draws],
    side: int,
    steps: int = 12,
    temperature: float = 1.0,
) -> Tensor:
    """Sample maps ``(n, side, side)`` with conditions ``(n, 4)``, each from its own stream."""
    if "transformer" in networks:
        size = (len(conditions), side, side)
        indices = torch.zeros(size, dtype=torch.long, device=conditions.device)
        hidden = torch.ones(size, dtype=torch.bool, device=conditions.device)
        return fill_codes(networks, indices, hidden, conditions, draws, steps, temperature)
    noise = torch.stack([_normal(draw, temperature) for draw in draws]).to(conditions)
    book = codebook(networks)
    return book(networks["generator"](noise, conditions)).indices  # type: ignore[no-any-return]


def fill_codes(
    networks: Networks,
    indices: Tensor,
    hidden: Tensor,
    conditions: Tensor,
    draws: Sequence[Draws],
    steps: int = 12,
    temperature: float = 1.0,
) -> Tensor:
    """Sample the ``hidden`` codes of maps ``(n, h, w)``, given the others.

    Each iteration keeps the codes of which the transformer is most confident, with some randomness;
    few at first, more as more are known (Chang et al., "MaskGIT", CVPR 2022).
    """
    transformer, codes = networks["transformer"], codebook(networks).codes
    total = hidden.flatten(1).sum(1)
    for step in range(steps):
        logits = transformer(indices, hidden, conditions, codes)
        size = (2, *logits.shape[2:])
        noise = torch.stack([torch.rand(size, generator=draw("codes", step)) for draw in draws])
        which, chance = noise.to(logits).unbind(1)
        chosen = _pick((logits / temperature).softmax(1), which)
        indices = torch.where(hidden, chosen, indices)
        confidence = logits.log_softmax(1).gather(1, chosen[:, None])[:, 0]
        done = (step + 1) / steps
        confidence = confidence + CHOICE_TEMPERATURE * (1 - done) * _gumbel(chance)
        left = (total * math.cos(math.pi / 2 * done)).floor().long()
        hidden = hidden & _lowest(confidence.masked_fill(~hidden, math.inf), left)
    return indices


def complete_slices(
    networks: Networks,
    images: Tensor,
    masks: Tensor,
    conditions: Tensor,
    draws: Sequence[Draws],
    steps: int = 12,
    temperature: float = 1.0,
) -> Tensor:
    """Return slices ``(n, y, x)`` whose part under ``masks`` is sampled, given the rest.

    The masked part has no influence: it is filled in smoothly before the slice is encoded, and
    every code that covers a masked pixel is hidden from the prior.
    """
    indices = encode(networks, fill_in(images, masks)[:, None])
    factor = images.shape[-1] // indices.shape[-1]
    hidden = functional.max_pool2d(masks[:, None].float(), factor)[:, 0] > 0
    completed = fill_codes(networks, indices, hidden, conditions, draws, steps, temperature)
    return torch.where(masks, decode(networks, completed)[:, 0], images)


def fill_in(images: Tensor, masks: Tensor) -> Tensor:
    """Fill masked pixels of ``(n, y, x)`` with the mean of known pixels near them."""
    filled, known = images.masked_fill(masks, 0), (~masks).float()
    for width in _REACH:
        weight = functional.avg_pool2d(known[:, None], width, 1, width // 2)[:, 0]
        total = functional.avg_pool2d((filled * known)[:, None], width, 1, width // 2)[:, 0]
        near = (known == 0) & (weight > 0)
        filled = torch.where(near, total / weight.clamp(min=1e-6), filled)
        known = torch.where(near, 1.0, known)
    return filled


def _lowest(values: Tensor, counts: Tensor) -> Tensor:
    """Mark the lowest values of each map ``(n, h, w)``, as many as ``counts`` ``(n,)`` says."""
    rank = values.flatten(1).argsort(1).argsort(1).view_as(values)
    return rank < counts[:, None, None]


def _pick(shares: Tensor, place: Tensor) -> Tensor:
    """Pick codes ``(n, h, w)`` of probabilities ``(n, codes, h, w)`` by uniform numbers."""
    passed = (shares.cumsum(1) <= place[:, None]).sum(1)
    return passed.clamp(max=shares.shape[1] - 1)


def _gumbel(uniform: Tensor) -> Tensor:
    """Turn uniform numbers into Gumbel noise, to sample without replacement."""
    return -torch.log(-torch.log(uniform.clamp(1e-7, 1 - 1e-7)))


def _normal(draws: Draws, temperature: float) -> Tensor:
    return temperature * torch.randn(NOISE, generator=draws("noise"))
