"""Masked transformer: the probability of hidden codes of a map, given the others."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.data.slices import CONDITIONS
from napari_mrgen.families.vqvae.config import VqVaeConfig
from napari_mrgen.nn.noise import dropout
from napari_mrgen.nn.unet import ResidualBlock

_HEAD = 32
"""Dimension of an attention head, about."""
_WAVES = 4


class CodeTransformer(nn.Module):
    """Transformer between convolutions.

    Attention costs the square of the positions, so a position is a block of codes. Convolutions at
    the resolution of the codes, before and after and joined by a skip connection, model the
    neighbourhood of each code, attention the whole slice. Codes are embedded and predicted by their
    vectors, so that similar codes share what is learned, which saves most of the training.

    References
    ----------
    Chang et al., "MaskGIT: masked generative image transformer", CVPR 2022.
    """

    def __init__(self, config: VqVaeConfig) -> None:
        super().__init__()
        width, merge = config.prior_width, config.merge
        fine, positions = width // 2, (config.side // merge) ** 2
        self.merge = merge
        self.read = nn.Linear(config.code_size, fine)
        self.hidden = nn.Parameter(0.5 * torch.randn(fine))
        self.conditions = nn.Sequential(
            nn.Linear(2 * _WAVES + CONDITIONS - 1, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.before = ResidualBlock(fine, width)
        self.merged = nn.Conv2d(fine, width, merge, stride=merge)
        self.place = nn.Parameter(0.02 * torch.randn(positions, width))
        heads = math.gcd(width // 16, max(1, width // _HEAD))
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, config.dropout) for _ in range(config.prior_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.parted = nn.Conv2d(width, fine * merge * merge, 1)
        self.after = nn.ModuleList(ResidualBlock(fine, width) for _ in range(2))
        self.aim = nn.Conv2d(fine, config.code_size, 1)
        self.head = nn.Conv2d(fine, config.codes, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(
        self,
        indices: Tensor,
        hidden: Tensor,
        conditions: Tensor,
        codes: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return logits ``(n, codes, h, w)``.

        Parameters
        ----------
        indices
            ``(n, h, w)``.
        hidden
            ``(n, h, w)``, true for the codes to predict.
        conditions
            ``(n, 4)``; see `napari_mrgen.data.slices.condition_vectors`.
        codes
            ``(codes, d)``, their vectors.
        generator
            Random numbers of dropout, in training.
        """
        condition = self.conditions(_waves(conditions))
        vectors = codes / codes.std()
        seen = functional.embedding(indices, self.read(vectors))
        fine = torch.where(hidden[..., None], self.hidden.to(seen), seen).movedim(-1, 1)
        fine = self.before(fine, condition)
        coarse = self.merged(fine)
        n, width, rows, columns = coarse.shape
        x = coarse.flatten(2).transpose(1, 2) + self.place + condition[:, None]
        for layer in self.blocks:
            x = layer(x, generator)
        coarse = self.norm(x).transpose(1, 2).reshape(n, width, rows, columns)
        fine = fine + functional.pixel_shuffle(self.parted(coarse), self.merge)
        for block in self.after:
            fine = block(fine, condition)
        features = functional.silu(fine)
        alike = torch.einsum("ndhw,kd->nkhw", self.aim(features), vectors.to(features))
        return alike + self.head(features)  # type: ignore[no-any-return]


class TransformerBlock(nn.Module):
    """Self-attention over all positions, then a perceptron at each; pre-norm.

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017; Xiong et al., "On layer normalization
    in the transformer architecture", ICML 2020.
    """

    def __init__(self, width: int, heads: int, dropped: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            msg = f"A width of {width} is not divisible by {heads} heads"
            raise ValueError(msg)
        self.heads, self.dropped = heads, dropped
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.ask = nn.Linear(width, 3 * width, bias=False)
        self.gather = nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map ``(n, positions, width)`` to the same shape; with a generator, with dropout."""
        x = x + dropout(self._attend(self.norms[0](x)), self.dropped, generator)
        h = self.narrow(functional.gelu(self.widen(self.norms[1](x))))
        return x + dropout(h, self.dropped, generator)

    def _attend(self, x: Tensor) -> Tensor:
        n, positions, width = x.shape
        parts = self.ask(x).view(n, positions, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.gather(attended.transpose(1, 2).reshape(n, positions, width))  # type: ignore[no-any-return]


def _waves(conditions: Tensor) -> Tensor:
    """Return conditions ``(n, 4)`` with the level as harmonics, so that near levels differ."""
    level = conditions[:, :1] * math.pi * 2.0 ** torch.arange(_WAVES, device=conditions.device)
    return torch.cat([torch.sin(level), torch.cos(level), conditions[:, 1:]], 1)
