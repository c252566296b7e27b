"""Transformer blocks over the positions of a small map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.nn.noise import dropout


class TransformerBlock(nn.Module):
    """Attention among all positions, then a perceptron at each; norms come first.

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017; Xiong et al., "On layer normalization
    in the transformer architecture", ICML 2020.
    """

    def __init__(self, width: int, heads: int, dropped: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            msg = f"A width of {width} cannot be shared by {heads} heads"
            raise ValueError(msg)
        self.heads, self.dropped = heads, dropped
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.ask = nn.Linear(width, 3 * width, bias=False)
        self.gather = nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map ``(n, positions, width)`` to the same shape; a generator draws what is dropped."""
        x = x + dropout(self._attend(self.norms[0](x)), self.dropped, generator)
        h = self.narrow(functional.gelu(self.widen(self.norms[1](x))))
        return x + dropout(h, self.dropped, generator)

    def _attend(self, x: Tensor) -> Tensor:
        n, positions, width = x.shape
        parts = self.ask(x).view(n, positions, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value)
        return self.gather(found.transpose(1, 2).reshape(n, positions, width))  # type: ignore[no-any-return]
