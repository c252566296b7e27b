"""Volume: the one value that travels between files, layers, models and results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

Kind = Literal["image", "labels"]
Array = npt.NDArray[Any]

AXES = ("zyx", "tzyx", "nzyx", "ntzyx")


@dataclass(frozen=True, eq=False)
class Volume:
    """An array with named axes, its place in the scanner, and where it came from.

    Parameters
    ----------
    array
        Values; the last three axes are always ``z y x`` (a slice has one z), before them may stand
        ``t`` (frames) and ``n`` (samples drawn, or cases stacked).
    axes
        One of `AXES`.
    affine
        (4, 4) float64, from ``(z, y, x)`` indices to scanner millimetres, RAS+.
    times
        Frame times in seconds, one per frame; None where the source does not know them.
    source
        How the file that it was read from stored it, as plain data: what a writer needs to give an
        untouched volume back bit for bit, and any other in the same order of axes.
    provenance
        For a generated volume: model, checkpoint hash, seed, source and configuration.
    """

    array: Array
    axes: str
    affine: npt.NDArray[np.float64]
    kind: Kind = "image"
    name: str = ""
    subject: str | None = None
    covariates: Mapping[str, Any] = field(default_factory=dict)
    times: tuple[float, ...] | None = None
    source: Mapping[str, Any] | None = None
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
    def frame_interval(self) -> float | None:
        """Mean time between frames in s; None where it is not known."""
        return mean_interval(self.times)

    def with_array(self, array: Array, axes: str | None = None, **changes: Any) -> Self:
        """Return another array in the same place: same geometry and subject, times not known."""
        changes = {"times": None, **changes}
        return replace(self, array=array, axes=axes or self.axes, **changes)


def mean_interval(times: tuple[float, ...] | None) -> float | None:
    """Return the mean time between frames at these times; None where it is not known."""
    if times is None or len(times) < 2:
        return None
    return (times[-1] - times[0]) / (len(times) - 1)
