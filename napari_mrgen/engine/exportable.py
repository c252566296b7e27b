"""Networks that can be used without this program, and what goes into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Port:
    """A tensor that goes into a network.

    Attributes
    ----------
    shape
        Sizes; a letter is a free size, the same wherever the letter stands.
    kind
        Kind of the values. Flags are true or false.
    low, high
        Limits of the values with which the export is checked.
    """

    name: str
    shape: tuple[int | str, ...]
    kind: Literal["number", "index", "flag"] = "number"
    low: float = 0.0
    high: float = 1.0

    def example(self, sizes: Sizes, generator: torch.Generator) -> Tensor:
        """Return random values of these sizes."""
        shape = [sizes[size] if isinstance(size, str) else size for size in self.shape]
        values = self.low + (self.high - self.low) * torch.rand(shape, generator=generator)
        if self.kind == "number":
            return values
        return values.long() if self.kind == "index" else values > (self.low + self.high) / 2


@dataclass(frozen=True)
class Exportable:
    """A network that stands alone: tensors in, one tensor out, and nothing random.

    Attributes
    ----------
    inputs
        The module's arguments, in their order.
    output
        Name of what comes out.
    sizes
        Values of the free letters. The network is traced at the first, so there no two letters may
        have the same value, and what pads must have something to pad; at all it is checked.
    help
        Sentence that says what goes in and what comes out.
    """

    name: str
    module: nn.Module
    inputs: tuple[Port, ...]
    output: str
    sizes: tuple[Sizes, ...]
    help: str

    def example(self, sizes: Sizes, seed: int = 0) -> tuple[Tensor, ...]:
        """Return random inputs of these sizes."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(port.example(sizes, generator) for port in self.inputs)
