"""Whole volumes or patches of prepared T1w and T2w scans, as training data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_mrgen.data.heads.preprocessing import Prepared, PreparedPair
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.naming import CONTRASTS

Shape = tuple[int, int, int]

_TRIES = 64
"""Draws of a patch's centre before one outside of the brain is taken."""
_AS_THEY_ARE, _EVEN = 0.5, 0.7
"""Share of the patches that are not enlarged; of an enlargement what all axes have in common."""
_HELD_OUT, _PATCHES = 4, 4
"""Most held-out heads in the curves while training, and patches of each."""


# ---- legal shapes -------------------------------------------------------------------------------


def pad_to_shape(volume: Tensor, shape: Shape) -> Tensor:
    """Pad ``(..., z, y, x)`` with zeros on both sides, up to a shape; longer sides stay."""
    missing = [max(0, want - have) for want, have in zip(shape, volume.shape[-3:], strict=True)]
    z, y, x = (length // 2 for length in missing)
    c, b, a = (length - length // 2 for length in missing)
    return functional.pad(volume, (x, a, y, b, z, c))


def _legal(length: int, legal: int) -> int:
    return -(-length // legal) * legal


# ---- the data set -------------------------------------------------------------------------------


class VolumePairs:
    """Training samples of prepared scans, and fixed ones of the held-out heads.

    A sample holds ``t1``, ``t2`` and ``mask``, each ``(1, z, y, x)`` of `shape`, and ``paired``,
    1.0 or 0.0. A sample that is not paired takes each contrast from a head, place and turn of its
    own; ``mask`` is then that of the T1w.

    Parameters
    ----------
    patch
        Side of the cubes that are drawn, most of them in the brain; None or 0 takes whole volumes.
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
        prepared: Prepared,
        patch: int | None = None,
        legal: int = 1,
        *,
        flip: bool = True,
        zoom: float = 1.0,
    ) -> None:
        self.train_pairs, self.test_pairs = prepared.train, prepared.test
        self.notes = prepared.notes
        self.patch, self.legal = patch or None, legal
        self.flip, self.zoom = flip, zoom
        self._of = {d: [p for p in self.train_pairs if p.has(d)] for d in CONTRASTS}
        for domain, pairs in self._of.items():
            if not pairs:
                msg = f"There is no {domain.upper()}w scan to train on; both contrasts are needed."
                raise MrgenError(msg)
        self._paired = [pair for pair in self.train_pairs if pair.is_paired]
        self._loose = max(sum(not pair.is_paired for pair in pairs) for pairs in self._of.values())

    @property
    def shape(self) -> Shape:
        """``(z, y, x)`` of every sample: of the largest scan, or of a patch, made legal."""
        z, y, x = (
            _legal(min(length, self.patch or length), self.legal)
            for length in np.max([pair.shape for pair in self.train_pairs], axis=0).tolist()
        )
        return z, y, x

    @property
    def paired_share(self) -> float:
        """Share of the samples that are pairs."""
        return len(self._paired) / len(self)

    def __len__(self) -> int:
        """Count pairs, and single scans of the contrast that has more of them."""
        return len(self._paired) + self._loose

    def sample(self, index: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        if index < len(self._paired):
            return self._pair(self._paired[index], generator)
        return self._two(index - len(self._paired), generator)

    def held_out(self) -> Iterator[Mapping[str, Tensor]]:
        """Yield whole held-out heads, or fixed patches in their brains, as batches of one head."""
        for pair in _first_paired(self.test_pairs)[:_HELD_OUT]:
            places = range(_PATCHES) if self.patch else range(1)
            taken = [self._pair(pair, _fixed(number), still=True) for number in places]
            yield {name: torch.stack([sample[name] for sample in taken]) for name in taken[0]}

    def describe(self) -> Mapping[str, Any]:
        """What goes into the model file: intensities of each contrast, voxel size, shape."""
        return {
            "scaling": {domain: self._usual_scaling(domain) for domain in CONTRASTS},
            "axes": "zyx",
            "shape": list(self.shape),
            "spacing_mm": np.median([_spacing(p) for p in self.train_pairs], axis=0).tolist(),
            "pairs": len(self._paired),
            "subjects": len({pair.subject for pair in self.train_pairs}),
        }

    def _usual_scaling(self, domain: str) -> dict[str, Any]:
        found = [pair.scalings[domain] for pair in self._of[domain]]
        return {
            "method": "percentile",
            "percentile": 99.5,
            "per": "volume",
            "offset": float(np.median([scaling.offset for scaling in found])),
            "scale": float(np.median([scaling.scale for scaling in found])),
        }

    def _pair(
        self, pair: PreparedPair, generator: torch.Generator, *, still: bool = False
    ) -> Mapping[str, Tensor]:
        """Cut the same part from all volumes of a pair."""
        cut = self._cut(pair, generator, still=still)
        volumes = {
            name: cut(name) for name in (*CONTRASTS, "mask") if name == "mask" or pair.has(name)
        }
        empty = torch.zeros_like(volumes["mask"])
        return {
            **{domain: volumes.get(domain, empty) for domain in CONTRASTS},
            "mask": volumes["mask"],
            "paired": torch.tensor(float(pair.is_paired)),
        }

    def _two(self, number: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Draw each contrast for itself: single scans in turn, of all where it has none of them."""
        sample: dict[str, Tensor] = {"paired": torch.tensor(0.0)}
        for domain in CONTRASTS:
            singles = [pair for pair in self._of[domain] if not pair.is_paired]
            if singles and number < len(singles):
                chosen = singles[number]
            else:
                pool = self._of[domain]
                chosen = pool[int(torch.randint(len(pool), (), generator=generator))]
            cut = self._cut(chosen, generator)
            sample[domain] = cut(domain)
            if domain == "t1":
                sample["mask"] = cut("mask")
        return sample

    def _cut(self, pair: PreparedPair, generator: torch.Generator, *, still: bool = False) -> _Cut:
        if not self.patch:
            start, size = (0, 0, 0), self.shape
        else:
            size = self.shape if still else self._size(generator)
            start = _start(pair, size, generator)
        flipped = self.flip and not still and bool(torch.rand((), generator=generator) < 0.5)
        return _Cut(pair, start, size, self.shape, _left_right(pair) if flipped else None)

    def _size(self, generator: torch.Generator) -> Shape:
        """Draw how much is cut for a patch: as much as its shape, or less, to be enlarged."""
        chance, most, *shares = torch.rand(5, generator=generator).tolist()
        if self.zoom == 1 or chance < _AS_THEY_ARE:
            return self.shape
        factors = [1 + (self.zoom - 1) * most * (_EVEN + (1 - _EVEN) * s) for s in shares]
        z, y, x = (max(1, round(a / factor)) for a, factor in zip(self.shape, factors, strict=True))
        return z, y, x


@dataclass(frozen=True)
class _Cut:
    """One part of a head, cut alike from each of its volumes."""

    pair: PreparedPair
    start: Shape
    size: Shape
    shape: Shape
    mirrored: int | None

    def __call__(self, name: str) -> Tensor:
        """Return ``(1, z, y, x)`` of values, or of the mask, padded or enlarged to the shape."""
        part = tuple(
            slice(start, start + length)
            for start, length in zip(self.start, self.size, strict=True)
        )
        values = torch.from_numpy(np.array(self.pair.array(name)[part], np.float32))
        if self.mirrored is not None:
            values = values.flip(self.mirrored)
        values = pad_to_shape(values, self.size)[None]
        if self.size == self.shape:
            return values
        mode = "nearest" if name == "mask" else "trilinear"
        return functional.interpolate(values[None], self.shape, mode=mode)[0]


def _start(pair: PreparedPair, shape: Shape, generator: torch.Generator) -> Shape:
    """Draw where a patch begins: its centre is a voxel of the brain, as a rule."""
    mask, size = pair.array("mask"), torch.tensor(pair.shape)
    for _ in range(_TRIES):
        centre = (torch.rand(3, generator=generator) * size).long().tolist()
        if mask[tuple(centre)]:
            break
    z, y, x = (
        min(max(0, middle - length // 2), max(0, whole - length))
        for middle, length, whole in zip(centre, shape, pair.shape, strict=True)
    )
    return z, y, x


def _left_right(pair: PreparedPair) -> int:
    """Return the axis that runs most from right to left."""
    right = np.abs(np.array(pair.affine)[0, :3]) / np.array(_spacing(pair))
    return int(np.argmax(right))


def _spacing(pair: PreparedPair) -> Sequence[float]:
    lengths: list[float] = np.linalg.norm(np.array(pair.affine)[:3, :3], axis=0).tolist()
    return lengths


def _first_paired(pairs: Sequence[PreparedPair]) -> list[PreparedPair]:
    """Return heads with both contrasts; where there is none, all."""
    return [pair for pair in pairs if pair.is_paired] or list(pairs)


def _fixed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)
