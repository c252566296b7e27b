"""Slices of volumes as training images: chosen by the brain's extent, scaled, fitted to a square.

A slice travels as ``(y, x)`` between 0 and 1; beside it goes what is known of it (`told_of`): its
level in the brain, and the age and sex of the subject.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_mrgen.data.scaling import Scaling
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Participant, Volume

Plane = Literal["axial", "coronal", "sagittal"]
_AXIS: Mapping[str, int] = {"axial": 0, "coronal": 1, "sagittal": 2}
TOLD = 4
"""Length of what is told of a slice: see `told_of`."""

_FOREGROUND, _SHARE = 0.1, 0.02
"""A slice belongs to the head where so much of it is brighter than a tenth of the range."""
_HEAD_MM = 140.0
"""From the top of the head down to the base of the brain; what lies below is neck."""
_FEW = 40
"""Fewer slices than this were chosen by someone, or are thick: all are taken."""
_SLOTS = 24
"""Most slices of a volume in an epoch, and in a set that metrics compare."""


@dataclass(frozen=True)
class SliceSpec:
    """Which slices of a volume are taken, and how they are varied in training.

    ``first`` and ``last`` are shares of the brain's extent across the plane: for axial slices 0 is
    the top of the head, and whole-head scans end 140 mm below it.
    """

    size: int = 128
    plane: Plane = "axial"
    first: float = 0.2
    last: float = 0.65
    flip: bool = True
    shift: int = 4
    """Largest random shift in training, in pixels."""


@dataclass(frozen=True)
class Placement:
    """Where slices came from: enough to put images of the same size back there."""

    volume: Volume
    spec: SliceSpec
    scaling: Scaling
    shown: tuple[int, int]
    """Height and width of the part of the square that shows the slice."""
    chosen: range
    """The slices that training would take."""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of slices, pixel height and pixel width in mm, as the network sees them."""
        axis = _AXIS[self.spec.plane]
        across = self.volume.spacing[axis]
        rows, columns = (i for i in range(3) if i != axis)
        high, wide = (
            self.volume.spacing[i] * self.volume.array.shape[i] / shown
            for i, shown in zip((rows, columns), self.shown, strict=True)
        )
        return across, high, wide

    @property
    def levels(self) -> Tensor:
        """Level of every slice of the volume, 0 to 1 over the chosen ones, ``(n,)``."""
        count = self.volume.array.shape[_AXIS[self.spec.plane]]
        place = (torch.arange(count) + 0.5 - self.chosen.start) / max(1, len(self.chosen))
        return place.clamp(0, 1)

    def back(self, images: Tensor, **changes: Any) -> Volume:
        """Return ``(n, size, size)``, one image a slice, as a volume in the source's place."""
        axis = _AXIS[self.spec.plane]
        kind = changes.get("kind", self.volume.kind)
        size = tuple(np.delete(self.volume.array.shape, axis))
        found = _resize(_uncentre(images.float(), self.shown), (size[0], size[1]), kind)
        values = np.moveaxis(found.cpu().numpy(), 0, axis)
        if kind == "image":
            return self.volume.with_array(self.scaling.invert(values), **changes)
        return self.volume.with_array(np.rint(values).astype(np.int32), **changes)


def slices_of(volume: Volume, spec: SliceSpec) -> tuple[Tensor, Placement]:
    """Cut a ``zyx`` volume into all its slices, ``(n, size, size)``, scaled and fitted.

    A slice larger than ``size`` is shrunk, never enlarged, and set in the middle of the square.
    Labels keep their values.
    """
    axis = _AXIS[spec.plane]
    scaling = Scaling.fit(volume.array) if volume.kind == "image" else Scaling(0.0, 1.0)
    values = np.moveaxis(scaling.apply(volume.array), axis, 0)
    chosen = _chosen(values, volume.spacing[axis], spec)
    slices = torch.from_numpy(np.ascontiguousarray(values))
    factor = max(1.0, max(slices.shape[1:]) / spec.size)
    height, width = (max(1, round(length / factor)) for length in slices.shape[1:])
    small = _resize(slices, (height, width), volume.kind)
    if volume.kind == "image":
        small = small.clamp(0, 1)
    placement = Placement(volume, spec, scaling, (height, width), chosen)
    return _centre(small, spec.size), placement


def told_of(levels: Tensor, participant: Participant) -> Tensor:
    """Return what a network may be told of slices at ``levels`` ``(n,)``: ``(n, 4)``.

    Level 0 to 1; age in centuries, 0 where not known; sex, -1 female, 1 male, 0 not known; and 1
    where the age is known.
    """
    age = participant.age
    sex = {"F": -1.0, "M": 1.0, None: 0.0}[participant.sex]
    rest = torch.tensor([0.0 if age is None else age / 100, sex, float(age is not None)])
    return torch.cat([levels[:, None], rest.expand(len(levels), 3)], 1)


def _chosen(values: np.ndarray[Any, Any], across: float, spec: SliceSpec) -> range:
    """Return the slices between ``first`` and ``last`` of the brain's extent; few are all taken."""
    count = len(values)
    if count < _FEW:
        return range(count)
    filled = np.nonzero((values > _FOREGROUND).mean((1, 2)) > _SHARE)[0]
    top, bottom = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, count)
    if spec.plane == "axial":
        bottom = min(bottom, top + max(1, round(_HEAD_MM / across)))
    start = top + round(spec.first * (bottom - top))
    return range(start, max(start + 1, top + round(spec.last * (bottom - top))))


def _resize(images: Tensor, size: tuple[int, int], kind: str) -> Tensor:
    if images.shape[1:] == size:
        return images
    if kind == "labels":
        return functional.interpolate(images[:, None], size, mode="nearest-exact")[:, 0]
    return functional.interpolate(
        images[:, None], size, mode="bilinear", antialias=True, align_corners=False
    )[:, 0]


def _centre(images: Tensor, size: int) -> Tensor:
    top, left = ((size - length) // 2 for length in images.shape[1:])
    below, right = size - images.shape[1] - top, size - images.shape[2] - left
    return functional.pad(images, (left, right, top, below))


def _uncentre(images: Tensor, shown: tuple[int, int]) -> Tensor:
    top, left = ((have - kept) // 2 for have, kept in zip(images.shape[-2:], shown, strict=True))
    return images[:, top : top + shown[0], left : left + shown[1]]


# ---- sets of slices -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Prepared:
    """The chosen slices of one volume, ready for the network."""

    images: Tensor
    """``(n, size, size)``; half precision, since thousands of volumes are kept."""
    told: Tensor
    spacing: tuple[float, float, float]
    spacing_known: bool

    @property
    def bytes(self) -> int:
        return self.images.nbytes


class SliceSet:
    """Evenly spread slices of some volumes: read when first needed, kept while memory allows."""

    def __init__(
        self, references: Sequence[Reference], spec: SliceSpec, keep_bytes: int = 4 << 30
    ) -> None:
        self.references, self.spec = tuple(references), spec
        self._keep_bytes = keep_bytes
        self._kept: OrderedDict[int, _Prepared] = OrderedDict()
        counts = [_slots(reference, spec) for reference in self.references]
        self._slots = [
            (volume, (slot + 0.5) / count)
            for volume, count in enumerate(counts)
            for slot in range(count)
        ]

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subject of every slice."""
        return tuple(self.references[volume].subject for volume, _ in self._slots)

    @property
    def levels(self) -> Tensor:
        """Level of every slice, 0 to 1, ``(n,)``."""
        return torch.tensor([level for _, level in self._slots])

    @cached_property
    def told(self) -> Tensor:
        """What is known of every slice, ``(n, 4)``; see `told_of`."""
        return torch.stack([self.take(volume, level)[1] for volume, level in self._slots])

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of slices, pixel height and pixel width in mm, of the first volume."""
        return self._read(0).spacing

    @property
    def spacing_known(self) -> bool:
        """Whether `spacing` is in mm, or in voxels of a source that does not know their size."""
        return self._read(0).spacing_known

    def images(self, indices: Sequence[int] | None = None) -> Tensor:
        """Return slices ``(n, size, size)``, all or those asked for."""
        chosen = range(len(self)) if indices is None else indices
        return torch.stack([self.take(*self._slots[index])[0] for index in chosen])

    def place(self, index: int) -> tuple[int, float]:
        """Return which volume a slice is of, and its level."""
        return self._slots[index]

    def take(self, volume: int, level: float) -> tuple[Tensor, Tensor]:
        """Return the slice ``(size, size)`` of a volume at a level, and what is known of it."""
        prepared = self._read(volume)
        index = min(int(level * len(prepared.images)), len(prepared.images) - 1)
        return prepared.images[index].float(), prepared.told[index]

    def _read(self, volume: int) -> _Prepared:
        if volume not in self._kept:
            self._kept[volume] = _prepare(self.references[volume].read(), self.spec)
            while len(self._kept) > 1 and self._bytes() > self._keep_bytes:
                self._kept.popitem(last=False)
        self._kept.move_to_end(volume)
        return self._kept[volume]

    def _bytes(self) -> int:
        return sum(prepared.bytes for prepared in self._kept.values())


def _prepare(volume: Volume, spec: SliceSpec) -> _Prepared:
    images, placement = slices_of(volume, spec)
    chosen = slice(placement.chosen.start, placement.chosen.stop)
    told = told_of(placement.levels[chosen], volume.participant)
    is_known = volume.spacing_known
    return _Prepared(images[chosen].half(), told, placement.spacing, is_known)


def _slots(reference: Reference, spec: SliceSpec) -> int:
    """Return how many slices stand for a volume, from its header: none of them twice."""
    if reference.slices:
        count = len(reference.slices)
    elif reference.path.suffix.lower() == ".png":
        count = 1
    else:
        count = nifti.info(reference.path).shape[_AXIS[spec.plane] - 3]
    chosen = count if count < _FEW else math.floor(count * (spec.last - spec.first) / 2)
    return max(1, min(_SLOTS, chosen))


class SliceData:
    """The training slices of some volumes and fixed slices of the held-out ones.

    A sample holds ``image`` (1, size, size) and ``told`` (4,). In training a slice's level is drawn
    anew, so that all slices between ``first`` and ``last`` are seen.
    """

    held_out_volumes, held_out_slices = 8, 4

    def __init__(
        self, train: Sequence[Reference], test: Sequence[Reference], spec: SliceSpec
    ) -> None:
        self.spec = spec
        self.train_slices, self.test_slices = SliceSet(train, spec), SliceSet(test, spec)

    def __len__(self) -> int:
        return len(self.train_slices)

    def sample(self, index: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        volume, _ = self.train_slices.place(index)
        level, flip = (float(torch.rand((), generator=generator)) for _ in range(2))
        image, told = self.train_slices.take(volume, level)
        if self.spec.flip and self.spec.plane != "sagittal" and flip < 0.5:
            image = image.flip(-1)
        return {"image": _shift(image, self.spec.shift, generator)[None], "told": told}

    def held_out(self) -> Iterator[Mapping[str, Tensor]]:
        """Yield a batch of evenly spread slices for each of a few held-out volumes."""
        for volume in range(min(self.held_out_volumes, len(self.test_slices.references))):
            levels = ((i + 0.5) / self.held_out_slices for i in range(self.held_out_slices))
            taken = [self.test_slices.take(volume, level) for level in levels]
            images, told = zip(*taken, strict=True)
            yield {"image": torch.stack(images)[:, None], "told": torch.stack(told)}

    def describe(self) -> Mapping[str, Any]:
        """What goes into the model file, so that new slices have a size in mm."""
        return {
            "scaling": {"method": "percentile", "percentile": 99.5, "per": "volume"},
            "axes": "yx",
            "shape": [self.spec.size, self.spec.size],
            "spacing_mm": list(self.train_slices.spacing),
            "spacing_known": self.train_slices.spacing_known,
            "plane": self.spec.plane,
            "first": self.spec.first,
            "last": self.spec.last,
        }


def _shift(image: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Move an image by up to ``most`` pixels; what comes in is black."""
    if not most:
        return image
    y, x = torch.randint(0, 2 * most + 1, (2,), generator=generator).tolist()
    height, width = image.shape
    return functional.pad(image, (most,) * 4)[y : y + height, x : x + width]
