"""Sets of images: samples of a model, or real slices of many subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageSet:
    """Images ``(n, y, x)``, 0 to 1, with the subject and the level of each where known.

    ``subjects`` are given for real slices and for what was made from them (reconstructions,
    blurred slices): a slice is never compared with one of its own subject. ``levels``, ``(n,)``
    from 0 to 1, say where in the brain a slice lies.
    """

    images: Tensor
    subjects: tuple[str, ...] = ()
    levels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Sequence[int] | Tensor) -> ImageSet:
        chosen = torch.as_tensor(indices, dtype=torch.long)
        subjects = tuple(self.subjects[i] for i in chosen.tolist()) if self.subjects else ()
        levels = None if self.levels is None else self.levels[chosen]
        return ImageSet(self.images[chosen], subjects, levels)

    def thin(self, most: int) -> ImageSet:
        """Return at most so many images, evenly spread over the set."""
        if len(self) <= most:
            return self
        return self.take(torch.arange(most) * len(self) // most)


@dataclass(frozen=True)
class Sets:
    """Sets by the method that made them, beside the real slices to judge them by."""

    made: Mapping[str, ImageSet]
    """The model first."""
    held_out: ImageSet
    train: ImageSet | None = None


class Owned(Protocol):
    """Things of which each has a subject, or none has."""

    @property
    def subjects(self) -> tuple[str, ...]: ...
    def __len__(self) -> int: ...


def strangers(a: Owned, b: Owned) -> Tensor:
    """Return which pairs ``(n, m)`` may be compared: not two of a subject, nor one with itself."""
    if a.subjects and b.subjects:
        numbers = {name: number for number, name in enumerate({*a.subjects, *b.subjects})}
        left, right = (torch.tensor([numbers[name] for name in s.subjects]) for s in (a, b))
        return left[:, None] != right
    pairs = torch.ones(len(a), len(b), dtype=torch.bool)
    return pairs.fill_diagonal_(False) if a is b else pairs
