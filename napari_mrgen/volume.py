"""Volume: the one value that travels between files, layers, models and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

Kind = Literal["image", "labels"]
Sex = Literal["F", "M"]
Array = npt.NDArray[Any]
Matrix = tuple[tuple[float, ...], ...]

AXES = ("zyx", "tzyx", "nzyx", "ntzyx", "czyx")


@dataclass(frozen=True)
class Participant:
    """What is known of the person who was scanned; None where it is not."""

    age: float | None = None
    """Years."""
    sex: Sex | None = None
    cdr: float | None = None
    """Clinical Dementia Rating, 0 to 3."""
    mmse: float | None = None
    """Mini-Mental State Examination, 0 to 30."""
    diagnosis: str | None = None
    height_cm: float | None = None
    weight_kg: float | None = None

    @property
    def known(self) -> dict[str, Any]:
        """The fields that are known, by name."""
        values = ((one.name, getattr(self, one.name)) for one in fields(self))
        return {name: value for name, value in values if value is not None}

    def updated(self, other: Participant) -> Participant:
        """Return all that either knows; where both do, what ``other`` says."""
        return replace(self, **other.known)


UNKNOWN = Participant()
"""Nobody of whom anything is known."""


@dataclass(frozen=True)
class CardiacCycle:
    """What is known of the heartbeat that a cine shows; frames count from 0."""

    ed_frame: int | None = None
    es_frame: int | None = None
    duration: float | None = None
    """Seconds from one R wave to the next."""
    ejection_fraction: float | None = None


@dataclass(frozen=True)
class StoredImage:
    """The voxels and the header of a NIfTI file, as they were when it was read.

    Attributes
    ----------
    header
        All bytes before the first voxel.
    shape, dtype, scaling
        Of the stored array ``(i, j, k, ...)``; slope and intercept where they change anything.
    affine, times
        Those of the `Volume` that was read.
    samples
        Whether the last axis counts samples of a model.
    """

    header: bytes
    shape: tuple[int, ...]
    dtype: str
    scaling: tuple[float, float] | None
    affine: Matrix
    times: tuple[float, ...] | None
    samples: bool


@dataclass(frozen=True)
class Source:
    """Where a volume was read from, and what a writer needs to write it in the same way.

    Attributes
    ----------
    path, format
        The file and its format; empty where there is none.
    subject
        Whose image it is, where the file itself says so.
    axes, flips
        Which of the stored axes ``i j k`` are ``z y x``, and which of them are turned round.
    codes
        Of the qform and the sform of a NIfTI file.
    spacing_known
        Whether lengths are millimetres. PNG and plain arrays hold no voxel size.
    notes
        What a user should know of the file, in sentences.
    stored
        Where it was a NIfTI file, from which an untouched volume is written back bit for bit.
    """

    path: str = ""
    format: str = ""
    subject: str | None = None
    axes: tuple[int, int, int] = (2, 1, 0)
    flips: tuple[bool, bool, bool] = (False, False, False)
    codes: tuple[int, int] = (0, 0)
    spacing_known: bool = True
    notes: tuple[str, ...] = ()
    stored: StoredImage | None = None


@dataclass(frozen=True, eq=False)
class Volume:
    """An array with named axes, its place in the scanner, and where it came from.

    Parameters
    ----------
    array
        Values; the last three axes are always ``z y x`` (a slice has one z), before them may stand
        ``t`` (frames) and ``n`` (samples of a model, or cases stacked).
    axes
        One of `AXES`.
    affine
        (4, 4) float64, from ``(z, y, x)`` indices to scanner millimetres, RAS+.
    times
        Frame times in seconds, one per frame; None where they are not known.
    participant, cardiac_cycle
        What is known of the person, and of the heartbeat that is shown.
    labelled_frames
        Frames of a label map that were segmented; the others are empty.
    samples
        Table of the samples along ``n``: columns by name, such as ``index``, ``level`` and ``age``.
    cases
        Names of the cases that are stacked along ``n``.
    window
        Intensities to show as black and white.
    source
        The file that it was read from.
    provenance
        For a generated volume: model, checkpoint hash, seed, source and configuration.

    Examples
    --------
    >>> import numpy as np
    >>> cine = Volume(np.zeros((3, 1, 64, 64)), "tzyx", np.eye(4), times=(0.0, 0.05, 0.1))
    >>> cine.size("t"), cine.frame_interval
    (3, 0.05)
    """

    array: Array
    axes: str
    affine: npt.NDArray[np.float64]
    kind: Kind = "image"
    name: str = ""
    subject: str | None = None
    participant: Participant = UNKNOWN
    cardiac_cycle: CardiacCycle | None = None
    labelled_frames: tuple[int, ...] = ()
    samples: Mapping[str, Sequence[Any]] | None = None
    cases: tuple[str, ...] = ()
    window: tuple[float, float] | None = None
    times: tuple[float, ...] | None = None
    source: Source | None = None
    provenance: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.axes not in AXES:
            msg = f"Volume axes: expected one of {', '.join(AXES)}, got {self.axes!r}"
            raise ValueError(msg)
        if self.array.ndim != len(self.axes):
            msg = (
                f"Volume {self.axes}: expected {len(self.axes)} axes, got shape {self.array.shape}"
            )
            raise ValueError(msg)
        if self.affine.shape != (4, 4):
            msg = f"Volume affine: expected (4, 4), got {self.affine.shape}"
            raise ValueError(msg)
        if self.times is not None and len(self.times) != self.size("t"):
            msg = f"Volume times: expected {self.size('t')}, got {len(self.times)}"
            raise ValueError(msg)

    def size(self, axis: str) -> int:
        """Length of the axis with this letter; 1 where there is none."""
        return self.array.shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along ``z, y, x`` in mm."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def spacing_known(self) -> bool:
        """Whether lengths are mm; those of PNG, or of a model trained on it, are voxels."""
        return self.source is None or self.source.spacing_known

    @property
    def frame_interval(self) -> float | None:
        """Mean time between frames in s; None where it is not known."""
        return mean_interval(self.times)

    def with_array(self, array: Array, axes: str | None = None, **changes: Any) -> Self:
        """Return another array in the same place: same geometry and subject, times not known."""
        changes = {"times": None, **changes}
        return replace(self, array=array, axes=axes or self.axes, **changes)


@dataclass(frozen=True)
class VolumeInfo:
    """What is known of a `Volume` without its values: what a file's header says."""

    axes: str
    shape: tuple[int, ...]
    affine: npt.NDArray[np.float64]
    times: tuple[float, ...] | None = None
    spacing_known: bool = True
    doubts: tuple[str, ...] = ()
    """What a user should check, such as a qform that differs from the sform, a sentence each."""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along ``z, y, x`` in mm."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)


def upright_affine(
    spacing: Sequence[float] = (1.0, 1.0, 1.0), shape: Sequence[int] | None = None
) -> npt.NDArray[np.float64]:
    """Return the affine of ``z y x`` voxels that run downwards, to the back and to the left.

    Parameters
    ----------
    spacing
        Voxel size along ``z, y, x`` in mm.
    shape
        Of a volume whose middle is to lie in the scanner's centre; without it voxel (0, 0, 0) does.

    Examples
    --------
    >>> upright_affine((8, 1.5, 1.5), (3, 64, 64))[:3, 3].tolist()
    [47.25, 47.25, 8.0]
    """
    affine = np.zeros((4, 4))
    for column, size in enumerate(spacing):
        affine[2 - column, column] = -size
    if shape is not None:
        affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    affine[3, 3] = 1
    return affine


def mean_interval(times: tuple[float, ...] | None) -> float | None:
    """Return the mean time between frames at these times; None where it is not known."""
    if times is None or len(times) < 2:
        return None
    return (times[-1] - times[0]) / (len(times) - 1)
