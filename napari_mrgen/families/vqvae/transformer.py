"""The masked transformer: it sees some codes of a map and says how likely each other one is."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.data.slices import TOLD
from napari_mrgen.families.vqvae.config import VqVaeConfig
from napari_mrgen.nn.attention import TransformerBlock
from napari_mrgen.nn.unet import ResidualBlock

_HEAD = 32
"""Numbers that an attention head looks at, about."""
_WAVES = 4


class CodeTransformer(nn.Module):
    """A transformer between convolutions.

    Attention costs the square of the positions, so a position stands for a block of codes.
    Convolutions at the codes' own resolution, before and after and joined by a skip, know what lies
    next to each code; attention knows the whole slice. Codes are read and named by their vectors:
    what is learned of one holds for those that are alike, which saves most of the training.

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
        self.told = nn.Sequential(
            nn.Linear(2 * _WAVES + TOLD - 1, width), nn.SiLU(), nn.Linear(width, width)
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
        told: Tensor,
        codes: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return logits ``(n, codes, h, w)``.

        Parameters
        ----------
        indices
            ``(n, h, w)``.
        hidden
            ``(n, h, w)``, true for the codes that the network must not see.
        told
            ``(n, 4)``; see `napari_mrgen.data.slices.told_of`.
        codes
            ``(codes, d)``, their vectors.
        generator
            Draws what is dropped in training.
        """
        condition = self.told(_waves(told))
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
        found = functional.silu(fine)
        alike = torch.einsum("ndhw,kd->nkhw", self.aim(found), vectors.to(found))
        return alike + self.head(found)  # type: ignore[no-any-return]


def _waves(told: Tensor) -> Tensor:
    """Return what is told ``(n, 4)`` with the level as waves, so that near levels differ."""
    level = told[:, :1] * math.pi * 2.0 ** torch.arange(_WAVES, device=told.device)
    return torch.cat([torch.sin(level), torch.cos(level), told[:, 1:]], 1)
