"""Synthetic volumes that the discriminators are shown again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_STEPS = 16384
"""Intensities are kept as whole numbers in this unit: half the memory, and buffers of whole numbers
are not averaged over the processes of a run, whose pools are the same anyway."""


class ImagePool(nn.Module):
    """Hands on what it is given, or something older in its place, each as often.

    It is kept in buffers, so that it is saved, and nothing is read back from the device. Several
    processes must call it together (`Task.together`), since the pool of only one is saved.

    References
    ----------
    Shrivastava et al., "Learning from simulated and unsupervised images through adversarial
    training", CVPR 2017.

    Parameters
    ----------
    size
        How many images it keeps; it hands on all that it is given until it is full.
    shape
        Of an image, such as ``(1, z, y, x)``.
    """

    images: Tensor
    count: Tensor

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(size, *shape, dtype=torch.int16))
        self.register_buffer("count", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def forward(self, fresh: Tensor, draws: Tensor) -> Tensor:
        """Return as many images as it is given.

        Parameters
        ----------
        fresh
            ``(b, *shape)``, between -2 and 2.
        draws
            ``(b, 2)``, evenly from 0 to 1: whether an image is exchanged, and for which.
        """
        if not len(self.images):
            return fresh
        return torch.stack([self._exchange(*each) for each in zip(fresh, draws, strict=True)])

    def _exchange(self, fresh: Tensor, draws: Tensor) -> Tensor:
        size = len(self.images)
        is_full = self.count >= size
        is_exchanged = is_full & (draws[:1] < 0.5)
        place = torch.where(is_full, (draws[1:] * size).long(), self.count)
        old = self.images.index_select(0, place)[0]
        coded = (fresh * _STEPS).round().clamp(-2 * _STEPS, 2 * _STEPS - 1).to(old)
        self.images.index_copy_(0, place, torch.where(is_full & ~is_exchanged, old, coded)[None])
        self.count.add_(~is_full)
        return torch.where(is_exchanged, old.to(fresh) / _STEPS, fresh)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any, **named: Any
    ) -> None:
        """Begin anew where images have another size than those that were saved."""
        saved = state_dict.get(f"{prefix}images")
        if saved is not None and saved.shape != self.images.shape:
            for name, buffer in self.named_buffers():
                state_dict[prefix + name] = torch.zeros_like(buffer)
        super()._load_from_state_dict(state_dict, prefix, *rest, **named)
