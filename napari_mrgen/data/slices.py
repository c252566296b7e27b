"""Slices of volumes as training images: chosen by the brain's extent, scaled, fitted to a square.

A slice is ``(y, x)`` between 0 and 1; its conditions (`condition_vectors`) are its level in the
brain and the age and sex of the subject.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

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
CONDITIONS = 4
"""Length of a conditioning vector; see `condition_vectors`."""

_FOREGROUND, _SHARE = 0.1, 0.02
"""A slice belongs to the head if this share of it is brighter than a tenth of the range."""
_HEAD_MM = 140.0
"""Distance from the top of the head to the base of the brain; below it is neck."""
_FEW = 40
"""Fewer slices than this were selected before, or are thick: all are used."""
_SLOTS = 24
"""Most slices of a volume in an epoch, and in a set that metrics compare."""


class SliceSettings(Protocol):
    """The settings by which every family of slices names them; see `SliceSpec`."""

    @property
    def size(self) -> int: ...
    @property
    def plane(self) -> Plane: ...
    @property
    def first(self) -> float: ...
    @property
    def last(self) -> float: ...


@dataclass(frozen=True)
class SliceSpec:
    """Selection of the slices of a volume, and their augmentation in training.

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

    @classmethod
    def of(cls, settings: SliceSettings, *, flip: bool = True, shift: int) -> SliceSpec:
        """Return which slices the settings of a family name."""
        return cls(settings.size, settings.plane, settings.first, settings.last, flip, shift)


@dataclass(frozen=True)
class Placement:
    """Where slices came from, so that images of the same size can be put back there."""

    volume: Volume
    spec: SliceSpec
    scaling: Scaling
    shown: tuple[int, int]
    """Height and width of the slice within the square."""
    chosen: range
    """Indices of the slices that are selected for training."""

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
        slices = _resize(_uncentre(images.float(), self.shown), (size[0], size[1]), kind)
        values = np.moveaxis(slices.cpu().numpy(), 0, axis)
        if kind == "image":
            return self.volume.with_array(self.scaling.invert(values), **changes)
        return self.volume.with_array(np.rint(values).astype(np.int32), **changes)


def slices_of(volume: Volume, spec: SliceSpec) -> tuple[Tensor, Placement]:
    """Cut a ``zyx`` volume into all its slices, ``(n, size, size)``, scaled and fitted.

    A slice larger than ``size`` is downsampled, a smaller one is padded; both are centred.
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


def condition_vectors(levels: Tensor, participant: Participant) -> Tensor:
    """Return the conditioning vectors ``(n, 4)`` of slices at ``levels`` ``(n,)``.

    They are the level, 0 to 1; the age in centuries, 0 if unknown; the sex, -1 female, 1 male, 0 if
    unknown; and 1 if the age is known.

    Examples
    --------
    >>> levels = torch.tensor([0.0, 0.5])
    >>> condition_vectors(levels, Participant(age=50, sex="F")).tolist()
    [[0.0, 0.5, -1.0, 1.0], [0.5, 0.5, -1.0, 1.0]]
    """
    age = participant.age
    sex = {"F": -1.0, "M": 1.0, None: 0.0}[participant.sex]
    rest = torch.tensor([0.0 if age is None else age / 100, sex, float(age is not None)])
    return torch.cat([levels[:, None], rest.expand(len(levels), 3)], 1)


def _chosen(values: np.ndarray[Any, Any], across: float, spec: SliceSpec) -> range:
    """Return the slices between ``first`` and ``last`` of the brain's extent; few are all used."""
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
    top, left = (
        (outer - inner) // 2 for outer, inner in zip(images.shape[-2:], shown, strict=True)
    )
    return images[:, top : top + shown[0], left : left + shown[1]]


# ---- sets of slices -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _VolumeSlices:
    """The selected slices of one volume, as the network gets them."""

    images: Tensor
    """``(n, size, size)``; half precision, since thousands of volumes are kept."""
    conditions: Tensor
    spacing: tuple[float, float, float]
    spacing_known: bool

    @property
    def bytes(self) -> int:
        return self.images.nbytes


class SliceSet:
    """Evenly spread slices of some volumes, read when first needed and cached within a limit."""

    def __init__(
        self, references: Sequence[Reference], spec: SliceSpec, keep_bytes: int = 4 << 30
    ) -> None:
        self.references, self.spec = tuple(references), spec
        self._keep_bytes = keep_bytes
        self._kept: OrderedDict[int, _VolumeSlices] = OrderedDict()
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
    def conditions(self) -> Tensor:
        """Conditions of every slice, ``(n, 4)``; see `condition_vectors`."""
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
        """Return slices ``(n, size, size)``, all or those of ``indices``."""
        chosen = range(len(self)) if indices is None else indices
        return torch.stack([self.take(*self._slots[index])[0] for index in chosen])

    def place(self, index: int) -> tuple[int, float]:
        """Return the volume of a slice, and its level."""
        return self._slots[index]

    def take(self, volume: int, level: float) -> tuple[Tensor, Tensor]:
        """Return the slice ``(size, size)`` of a volume at a level, and its conditions."""
        prepared = self._read(volume)
        index = min(int(level * len(prepared.images)), len(prepared.images) - 1)
        return prepared.images[index].float(), prepared.conditions[index]

    def _read(self, volume: int) -> _VolumeSlices:
        if volume not in self._kept:
            self._kept[volume] = _read_slices(self.references[volume].read(), self.spec)
            while len(self._kept) > 1 and self._bytes() > self._keep_bytes:
                self._kept.popitem(last=False)
        self._kept.move_to_end(volume)
        return self._kept[volume]

    def _bytes(self) -> int:
        return sum(prepared.bytes for prepared in self._kept.values())


def _read_slices(volume: Volume, spec: SliceSpec) -> _VolumeSlices:
    images, placement = slices_of(volume, spec)
    chosen = slice(placement.chosen.start, placement.chosen.stop)
    conditions = condition_vectors(placement.levels[chosen], volume.participant)
    is_known = volume.spacing_known
    return _VolumeSlices(images[chosen].half(), conditions, placement.spacing, is_known)


def _slots(reference: Reference, spec: SliceSpec) -> int:
    """Return how many slices a volume contributes, from its header: none of them twice."""
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

    A sample holds ``image`` (1, size, size) and ``conditions`` (4,). In training the level
    is random, so that all slices between ``first`` and ``last`` are used.
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
        image, conditions = self.train_slices.take(volume, level)
        if self.spec.flip and self.spec.plane != "sagittal" and flip < 0.5:
            image = image.flip(-1)
        return {"image": _shift(image, self.spec.shift, generator)[None], "conditions": conditions}

    def held_out(self) -> Iterator[Mapping[str, Tensor]]:
        """Yield a batch of evenly spread slices for each of a few held-out volumes."""
        for volume in range(min(self.held_out_volumes, len(self.test_slices.references))):
            levels = ((i + 0.5) / self.held_out_slices for i in range(self.held_out_slices))
            taken = [self.test_slices.take(volume, level) for level in levels]
            images, conditions = zip(*taken, strict=True)
            yield {"image": torch.stack(images)[:, None], "conditions": torch.stack(conditions)}

    def describe(self) -> Mapping[str, Any]:
        """Describe the training data for the model file, so that samples have a size in mm."""
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
    """Translate an image randomly by up to ``most`` pixels; new pixels are black."""
    if not most:
        return image
    y, x = torch.randint(0, 2 * most + 1, (2,), generator=generator).tolist()
    height, width = image.shape
    return functional.pad(image, (most,) * 4)[y : y + height, x : x + width]
