"""Vector quantisation: codebooks and their training.

Vectors are ``(n, d, y, x)``, indices of codes as ``(n, y, x)``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

RARE = 0.05
"""A code that is used less than this share of the average is dead, and is replaced."""
_REBORN = 2 * RARE
"""Usage that a replaced code starts with, as a share of the average."""


class Quantized(NamedTuple):
    """Quantised vectors."""

    vectors: Tensor
    """The nearest codes ``(n, d, y, x)``; gradients pass straight through to the vectors."""
    indices: Tensor
    loss: Tensor
    """Commitment loss, and the codebook loss where codes learn by gradients."""


class Codebook(nn.Module):
    """Codes ``(count, size)``, and how often each is used.

    Distances are computed in float32: in bfloat16 neighbouring codes are confused.
    """

    usage: Tensor

    def __init__(self, count: int, size: int, decay: float = 0.99) -> None:
        super().__init__()
        self.count, self.size, self.decay = count, size, decay
        self.register_buffer("usage", torch.zeros(count))

    @property
    def codes(self) -> Tensor:
        """The codes ``(count, size)``."""
        raise NotImplementedError

    def forward(self, vectors: Tensor, generator: torch.Generator | None = None) -> Quantized:
        """Replace each vector by the nearest code; with a generator, update the codes."""
        with torch.autocast(vectors.device.type, enabled=False):
            return self._quantize(self.prepare(vectors.float()), generator)

    def prepare(self, vectors: Tensor) -> Tensor:
        """Project vectors into the space of the codes."""
        return vectors

    def embed(self, indices: Tensor) -> Tensor:
        """Return the codes ``(n, d, y, x)`` of indices ``(n, y, x)``."""
        return functional.embedding(indices, self.codes).movedim(-1, 1)

    def nearest(self, flat: Tensor) -> Tensor:
        """Return the index of the code nearest to each of ``(m, d)`` vectors."""
        codes = self.codes
        return (codes.square().sum(1) - 2 * flat @ codes.T).argmin(1)

    def _quantize(self, vectors: Tensor, generator: torch.Generator | None) -> Quantized:
        raise NotImplementedError

    def _find(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        n, d, y, x = vectors.shape
        flat = vectors.detach().movedim(1, -1).reshape(-1, d)
        return flat, self.nearest(flat).view(n, y, x)


class EmaCodebook(Codebook):
    """Codes that follow the moving average of the vectors assigned to them; dead ones are replaced.

    Usage and sums are moving averages kept in buffers, so they are saved, averaged over processes
    and resumed like everything else; the codes follow from them. A dead code is replaced by a
    vector of the batch, more likely one that is quantised badly: black background, of which there
    is much, fits at once. All codes are dead at first, so the first batch fills the codebook. Where
    several processes train, a replaced code is the mean of their choices.

    Parameters
    ----------
    normalised
        Compare directions only: vectors and codes have unit length (Yu et al., "Vector-quantized
        image modeling with improved VQGAN", ICLR 2022). They leave with unit variance.
    commitment
        Weight of the loss that keeps vectors near their codes.

    References
    ----------
    van den Oord et al., "Neural discrete representation learning", NeurIPS 2017; Razavi et al.,
    "Generating diverse high-fidelity images with VQ-VAE-2", NeurIPS 2019.
    """

    sums: Tensor

    def __init__(
        self,
        count: int,
        size: int,
        decay: float = 0.99,
        commitment: float = 0.25,
        normalised: bool = True,
    ) -> None:
        super().__init__(count, size, decay)
        self.commitment, self.normalised = commitment, normalised
        self.register_buffer("sums", torch.zeros(count, size))

    @property
    def codes(self) -> Tensor:
        means = self.sums / self.usage.clamp(min=1e-12)[:, None]
        return self.prepare(means) if self.normalised else means

    def prepare(self, vectors: Tensor) -> Tensor:
        if not self.normalised:
            return vectors
        return functional.normalize(vectors, dim=1) * self.size**0.5  # type: ignore[no-any-return]

    def _quantize(self, vectors: Tensor, generator: torch.Generator | None) -> Quantized:
        flat, indices = self._find(vectors)
        chosen = self.embed(indices)
        if generator is not None:
            error = (flat - self.codes[indices.flatten()]).square().sum(1)
            self._follow(flat, indices.flatten())
            self._revive(flat, error, generator)
        loss = self.commitment * functional.mse_loss(vectors, chosen)
        return Quantized(vectors + (chosen - vectors).detach(), indices, loss)

    @torch.no_grad()
    def _revive(self, flat: Tensor, error: Tensor, generator: torch.Generator) -> None:
        """Replace each dead code by a vector of the batch, more likely one that is quantised badly.

        Weighted sampling without replacement (Efraimidis and Spirakis, 2006).
        """
        uniform = torch.rand(len(flat), generator=generator, device=generator.device).to(flat)
        order = (uniform.clamp(min=1e-12).log() / error.clamp(min=1e-9)).argsort(descending=True)
        dead = self.usage < RARE / self.count
        fresh = flat[order[(dead.cumsum(0) - 1).clamp(min=0) % len(flat)]]
        start = _REBORN / self.count
        self.sums.copy_(torch.where(dead[:, None], start * fresh, self.sums))
        self.usage.copy_(torch.where(dead, start, self.usage))

    @torch.no_grad()
    def _follow(self, flat: Tensor, indices: Tensor) -> None:
        # A product, not `index_add_`: on a GPU the order of its sums changes from run to run.
        assigned = functional.one_hot(indices, self.count).to(flat) / len(flat)
        self.usage.lerp_(assigned.sum(0), 1 - self.decay)
        self.sums.lerp_(assigned.T @ flat, 1 - self.decay)


class GradientCodebook(Codebook):
    """Codes that are trained by gradients, as first published; unused codes do not move.

    References
    ----------
    van den Oord et al., "Neural discrete representation learning", NeurIPS 2017.
    """

    def __init__(
        self, count: int, size: int, decay: float = 0.99, commitment: float = 0.25
    ) -> None:
        super().__init__(count, size, decay)
        self.commitment = commitment
        self.weight = nn.Parameter(torch.empty(count, size).uniform_(-1 / count, 1 / count))

    @property
    def codes(self) -> Tensor:
        return self.weight

    def _quantize(self, vectors: Tensor, generator: torch.Generator | None) -> Quantized:
        _, indices = self._find(vectors)
        chosen = self.embed(indices)
        if generator is not None:
            share = functional.one_hot(indices.flatten(), self.count).float().mean(0)
            # From the first batch on an average of what was seen, not of zeros.
            decay = torch.where(self.usage.any(), self.decay, 0.0)
            self.usage.copy_(decay * self.usage + (1 - decay) * share)
        loss = functional.mse_loss(chosen, vectors.detach())
        loss = loss + self.commitment * functional.mse_loss(vectors, chosen.detach())
        return Quantized(vectors + (chosen - vectors).detach(), indices, loss)


def perplexity(usage: Tensor) -> Tensor:
    """Return the perplexity of code usage: 2 to the power of its entropy in bits."""
    share = usage / usage.sum().clamp(min=1e-12)
    return torch.special.entr(share).sum().exp()  # type: ignore[no-any-return]


def used_share(usage: Tensor) -> Tensor:
    """Return the share of codes whose usage exceeds `RARE` of the average."""
    share = usage / usage.sum().clamp(min=1e-12)
    return (share > RARE / len(share)).float().mean()
