"""Where the head is, so that a figure is not that of the black around it."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

_BRIGHT = 0.05
_SIGMA = 1.5


def head_mask(images: Tensor) -> Tensor:
    """Mark the head in slices ``(..., y, x)`` of intensities 0..1.

    It is what is brighter than 0.05 after smoothing by 1.5 pixels, with the holes in it.
    """
    flat = images.detach().float().cpu().reshape(-1, *images.shape[-2:]).numpy()
    smooth = ndimage.gaussian_filter(flat, (0, _SIGMA, _SIGMA))
    filled = [ndimage.binary_fill_holes(bright) for bright in smooth > _BRIGHT]
    return torch.from_numpy(np.stack(filled)).view(images.shape).to(images.device)
