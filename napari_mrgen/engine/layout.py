"""How the values of images and weights lie in memory: with the channels last, as is fastest."""

from __future__ import annotations

import torch
from torch import nn

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The layout with the channels last, by the number of axes."""


def put_channels_last(network: nn.Module) -> None:
    """Lay the weights out so; a convolution lays what it makes out as its weights."""
    for parameter in network.parameters():
        if (layout := CHANNELS_LAST.get(parameter.ndim)) is not None:
            parameter.data = parameter.data.contiguous(memory_format=layout)
