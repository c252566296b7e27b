"""Whole volumes or patches of preprocessed sessions, as training data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_mrgen.data.heads.cache import PreprocessedSession
from napari_mrgen.data.heads.preprocessing import PreprocessedData
from napari_mrgen.data.heads.sessions import contrast_title
from napari_mrgen.errors import MrgenError

Shape = tuple[int, int, int]

_TRIES = 64
"""Centres of a patch that are drawn before one outside of the brain is taken."""
_UNSCALED, _ISOTROPIC = 0.5, 0.7
"""Share of the patches that are not enlarged; share of an enlargement that is equal on all axes."""
_HELD_OUT, _PATCHES = 4, 4
"""Most held-out heads in the curves while training, and patches of each."""


def pad_to_shape(volume: Tensor, shape: Shape) -> Tensor:
    """Pad ``(..., z, y, x)`` with zeros on both sides, up to a shape; longer sides stay.

    Examples
    --------
    >>> pad_to_shape(torch.ones(1, 3, 9, 4), (8, 8, 8)).shape
    torch.Size([1, 8, 9, 8])
    """
    missing = [max(0, side - old) for side, old in zip(shape, volume.shape[-3:], strict=True)]
    z, y, x = (length // 2 for length in missing)
    c, b, a = (length - length // 2 for length in missing)
    return functional.pad(volume, (x, a, y, b, z, c))


class VolumePatches:
    """Training samples of preprocessed sessions, and fixed ones of the held-out heads.

    A sample holds each contrast and ``mask``, each ``(1, z, y, x)`` of `shape`, and ``paired``: 1.0
    where all contrasts are of one session, voxel on voxel, else 0.0. A sample that is not paired
    takes each contrast from a head, place and mirroring of its own; ``mask`` is then that of the
    first contrast.

    Parameters
    ----------
    contrasts
        Those of a sample; a single one is always paired.
    patch
        Side of the cubes that are cut, most of them in the brain; None or 0 takes whole volumes.
        Along an axis on which all scans are shorter it is shortened.
    legal
        What every side of a sample is a multiple of; what is added is 0.
    flip
        Whether to mirror left and right at random in training.
    zoom
        Half of the patches are smaller parts, enlarged up to so many times, each axis for itself:
        parts of heads differ in size more than the few heads of a training show.
    """

    def __init__(
        self,
        data: PreprocessedData,
        contrasts: Sequence[str],
        patch: int | None = None,
        legal: int = 1,
        *,
        flip: bool = True,
        zoom: float = 1.0,
    ) -> None:
        self.train_sessions, self.test_sessions = data.train, data.test
        self.notes, self.contrasts = data.notes, tuple(contrasts)
        self.patch, self.legal = patch or None, legal
        self.flip, self.zoom = flip, zoom
        self._of = {c: [one for one in data.train if one.has(c)] for c in self.contrasts}
        for contrast, sessions in self._of.items():
            if not sessions:
                msg = f"There is no {contrast_title(contrast)} scan to train on"
                rest = "; both contrasts are needed" if len(self.contrasts) == 2 else ""
                raise MrgenError(f"{msg}{rest}.")
        self._paired = [one for one in data.train if one.has(*self.contrasts)]
        self._singles = {
            contrast: [one for one in sessions if not one.has(*self.contrasts)]
            for contrast, sessions in self._of.items()
        }

    @property
    def shape(self) -> Shape:
        """``(z, y, x)`` of every sample: of the largest scan, or of a patch, made legal."""
        largest = np.max([session.shape for session in self.train_sessions], axis=0).tolist()
        sides = (min(side, self.patch or side) for side in largest)
        z, y, x = (side + -side % self.legal for side in sides)
        return z, y, x

    @property
    def paired_share(self) -> float:
        """Share of the samples that are paired."""
        return len(self._paired) / len(self)

    def __len__(self) -> int:
        """Count paired sessions, and single scans of the contrast that has more of them."""
        return len(self._paired) + max(map(len, self._singles.values()))

    def sample(self, index: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        if index < len(self._paired):
            return self._paired_sample(self._paired[index], generator)
        return self._unpaired_sample(index - len(self._paired), generator)

    def held_out(self) -> Iterator[Mapping[str, Tensor]]:
        """Yield whole held-out heads, or fixed patches in their brains, as batches of one head."""
        paired = [one for one in self.test_sessions if one.has(*self.contrasts)]
        for session in (paired or self.test_sessions)[:_HELD_OUT]:
            samples = [
                self._paired_sample(session, torch.Generator().manual_seed(number), fixed=True)
                for number in range(_PATCHES if self.patch else 1)
            ]
            yield {name: torch.stack([one[name] for one in samples]) for name in samples[0]}

    def describe(self) -> Mapping[str, Any]:
        """Return what goes into the model file: intensities by contrast, voxel size, shape."""
        scaling: dict[str, dict[str, Any]] = {}
        for contrast, sessions in self._of.items():
            own = [session.scalings[contrast] for session in sessions]
            scaling[contrast] = {
                "method": "percentile",
                "percentile": 99.5,
                "per": "volume",
                "offset": float(np.median([one.offset for one in own])),
                "scale": float(np.median([one.scale for one in own])),
            }
        spacings = [_spacing(session) for session in self.train_sessions]
        return {
            "scaling": scaling,
            "axes": "zyx",
            "shape": list(self.shape),
            "spacing_mm": np.median(spacings, axis=0).tolist(),
            "pairs": len(self._paired),
            "subjects": len({session.subject for session in self.train_sessions}),
        }

    def _paired_sample(
        self, session: PreprocessedSession, generator: torch.Generator, *, fixed: bool = False
    ) -> Mapping[str, Tensor]:
        """Cut the same part from all volumes of a session; a contrast that is missing is 0."""
        cut = self._cut(session, generator, fixed=fixed)
        mask = cut("mask")
        volumes = {c: cut(c) if session.has(c) else torch.zeros_like(mask) for c in self.contrasts}
        is_paired = session.has(*self.contrasts)
        return {**volumes, "mask": mask, "paired": torch.tensor(float(is_paired))}

    def _unpaired_sample(self, number: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Take each contrast from a session of its own.

        Single scans are taken in turn; a contrast that has none, or no more, is drawn from all.
        """
        sample: dict[str, Tensor] = {"paired": torch.tensor(0.0)}
        for contrast in self.contrasts:
            if number < len(singles := self._singles[contrast]):
                session = singles[number]
            else:
                pool = self._of[contrast]
                session = pool[int(torch.randint(len(pool), (), generator=generator))]
            cut = self._cut(session, generator)
            sample[contrast] = cut(contrast)
            if contrast == self.contrasts[0]:
                sample["mask"] = cut("mask")
        return sample

    def _cut(
        self, session: PreprocessedSession, generator: torch.Generator, *, fixed: bool = False
    ) -> _Cut:
        if not self.patch:
            start, size = (0, 0, 0), self.shape
        else:
            size = self.shape if fixed else self._size(generator)
            start = _start(session, size, generator)
        is_flipped = self.flip and not fixed and bool(torch.rand((), generator=generator) < 0.5)
        mirrored = None
        if is_flipped:
            right = np.abs(np.array(session.affine)[0, :3]) / np.array(_spacing(session))
            mirrored = int(np.argmax(right))  # The axis that runs most from right to left.
        return _Cut(session, start, size, self.shape, mirrored)

    def _size(self, generator: torch.Generator) -> Shape:
        """Draw how much is cut for a patch: as much as its shape, or less, to be enlarged."""
        chance, most, *shares = torch.rand(5, generator=generator).tolist()
        if self.zoom == 1 or chance < _UNSCALED:
            return self.shape
        own = 1 - _ISOTROPIC
        factors = [1 + (self.zoom - 1) * most * (_ISOTROPIC + own * share) for share in shares]
        z, y, x = (max(1, round(a / factor)) for a, factor in zip(self.shape, factors, strict=True))
        return z, y, x


@dataclass(frozen=True)
class _Cut:
    """One part of a head, cut alike from each of its volumes."""

    session: PreprocessedSession
    start: Shape
    size: Shape
    shape: Shape
    mirrored: int | None
    """The axis that is mirrored."""

    def __call__(self, name: str) -> Tensor:
        """Return ``(1, z, y, x)`` of values, or of the mask, padded or enlarged to the shape."""
        part = tuple(
            slice(start, start + length)
            for start, length in zip(self.start, self.size, strict=True)
        )
        values = torch.from_numpy(np.array(self.session.array(name)[part], np.float32))
        if self.mirrored is not None:
            values = values.flip(self.mirrored)
        values = pad_to_shape(values, self.size)[None]
        if self.size == self.shape:
            return values
        mode = "nearest" if name == "mask" else "trilinear"
        return functional.interpolate(values[None], self.shape, mode=mode)[0]


def _start(session: PreprocessedSession, shape: Shape, generator: torch.Generator) -> Shape:
    """Draw where a patch begins: its centre is a voxel of the brain, as a rule."""
    mask, size = session.array("mask"), torch.tensor(session.shape)
    for _ in range(_TRIES):
        centre = (torch.rand(3, generator=generator) * size).long().tolist()
        if mask[tuple(centre)]:
            break
    z, y, x = (
        min(max(0, middle - length // 2), max(0, whole - length))
        for middle, length, whole in zip(centre, shape, session.shape, strict=True)
    )
    return z, y, x


def _spacing(session: PreprocessedSession) -> Sequence[float]:
    lengths: list[float] = np.linalg.norm(np.array(session.affine)[:3, :3], axis=0).tolist()
    return lengths
