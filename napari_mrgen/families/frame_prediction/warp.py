"""Warping of images by a displacement field."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Sample an image at each pixel plus its displacement; edges are repeated.

    Parameters
    ----------
    images
        ``(n, c, y, x)``.
    flow
        ``(n, c, 2, y, x)``, displacement along x, then y, in pixels, for each channel its own.
    """
    n, c, height, width = images.shape
    pixel = torch.tensor([2 / width, 2 / height], device=flow.device)
    # In float32: bfloat16 does not resolve neighbouring pixels of a wide image.
    grid = _centres(height, width, flow.device) + flow.float().permute(0, 1, 3, 4, 2) * pixel
    warped = functional.grid_sample(
        images.float().reshape(n * c, 1, height, width),
        grid.reshape(n * c, height, width, 2),
        padding_mode="border",
        align_corners=False,
    )
    return warped.view(n, c, height, width)


def _centres(height: int, width: int, device: torch.device) -> Tensor:
    """Return pixel centres (x, y), from -1 to 1 between the outer edges: ``(y, x, 2)``."""
    y = (torch.arange(height, device=device) + 0.5) / height * 2 - 1
    x = (torch.arange(width, device=device) + 0.5) / width * 2 - 1
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
