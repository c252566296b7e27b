"""From noise to images, and from one noise to the next."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_mrgen.engine.device import device_of

TOGETHER = 8
"""Images that are drawn at once."""


@torch.no_grad()
def draw(generator: nn.Module, noise: Tensor, told: Tensor, size: int) -> Tensor:
    """Return images ``(n, size, size)`` between 0 and 1, on the CPU.

    Always as many at once: sums in batches of another size differ in their last digit, and an image
    must not depend on how many are wanted.
    """
    device = device_of(generator)
    found = []
    for start in range(0, len(noise), TOGETHER):
        rows = torch.arange(start, start + TOGETHER).clamp(max=len(noise) - 1)
        images = generator(noise[rows].to(device), told[rows].to(device), size)
        found.append(images[: len(noise) - start, 0].float().cpu())
    return torch.cat(found).clamp(0, 1)


def slerp(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Go from noise to noise ``(n, latent)`` along an arc, so that it stays as long as noise is."""
    unit = (v / v.norm(dim=1, keepdim=True) for v in (start, end))
    cosine = torch.mul(*unit).sum(1, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = torch.acos(cosine)
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / angle.sin()
