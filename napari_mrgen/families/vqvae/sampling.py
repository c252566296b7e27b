"""Drawing maps of codes: by the masked transformer, in a few passes, or by the generator."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from napari_mrgen.engine.task import Draws, Networks
from napari_mrgen.families.vqvae.networks import codebook
from napari_mrgen.families.vqvae.published import NOISE

PATIENCE = 4.5
"""How much chance there is in which codes are kept; it falls to nothing with the last pass."""


def draw_codes(
    networks: Networks,
    told: Tensor,
    draws: Sequence[Draws],
    side: int,
    steps: int = 12,
    temperature: float = 1.0,
) -> Tensor:
    """Draw maps ``(n, side, side)`` by what is told of them ``(n, 4)``; each has its own draws."""
    if "transformer" in networks:
        size = (len(told), side, side)
        indices = torch.zeros(size, dtype=torch.long, device=told.device)
        hidden = torch.ones(size, dtype=torch.bool, device=told.device)
        return fill_codes(networks, indices, hidden, told, draws, steps, temperature)
    noise = torch.stack([_normal(draw, temperature) for draw in draws]).to(told)
    book = codebook(networks)
    return book(networks["generator"](noise, told)).indices  # type: ignore[no-any-return]


def fill_codes(
    networks: Networks,
    indices: Tensor,
    hidden: Tensor,
    told: Tensor,
    draws: Sequence[Draws],
    steps: int = 12,
    temperature: float = 1.0,
) -> Tensor:
    """Draw the ``hidden`` codes of maps ``(n, h, w)`` anew, so that they fit the others.

    In each pass the codes that the transformer is surest of, with some chance, are kept; few at
    first, more the more is known (Chang et al., "MaskGIT", CVPR 2022).
    """
    transformer, codes = networks["transformer"], codebook(networks).codes
    wanted = hidden.flatten(1).sum(1)
    for step in range(steps):
        logits = transformer(indices, hidden, told, codes)
        size = (2, *logits.shape[2:])
        noise = torch.stack([torch.rand(size, generator=draw("codes", step)) for draw in draws])
        which, chance = noise.to(logits).unbind(1)
        chosen = _pick((logits / temperature).softmax(1), which)
        indices = torch.where(hidden, chosen, indices)
        sure = logits.log_softmax(1).gather(1, chosen[:, None])[:, 0]
        done = (step + 1) / steps
        sure = sure + PATIENCE * (1 - done) * _gumbel(chance)
        left = (wanted * math.cos(math.pi / 2 * done)).floor().long()
        hidden = hidden & _lowest(sure.masked_fill(~hidden, math.inf), left)
    return indices


def _lowest(values: Tensor, counts: Tensor) -> Tensor:
    """Mark the lowest values of each map ``(n, h, w)``, as many as ``counts`` ``(n,)`` says."""
    rank = values.flatten(1).argsort(1).argsort(1).view_as(values)
    return rank < counts[:, None, None]


def _pick(shares: Tensor, place: Tensor) -> Tensor:
    """Pick a code ``(n, h, w)`` by its share ``(n, codes, h, w)``, at a place between 0 and 1."""
    passed = (shares.cumsum(1) <= place[:, None]).sum(1)
    return passed.clamp(max=shares.shape[1] - 1)


def _gumbel(uniform: Tensor) -> Tensor:
    """Turn even numbers into Gumbel noise: with it, the lowest are a draw without replacement."""
    return -torch.log(-torch.log(uniform.clamp(1e-7, 1 - 1e-7)))


def _normal(draws: Draws, temperature: float) -> Tensor:
    return temperature * torch.randn(NOISE, generator=draws("noise"))
