"""Intensity scaling: fitted on a series, saved with the model, inverted on output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from napari_mrgen.errors import MrgenError

PERCENTILE = 99.5
_AT_MOST = 2_000_000
_MOST_FILL_VALUES = 8
_MANY = 1e-3
"""Share of the voxels from which on a value far from others is padding; fewer may be bright."""
_FEW_LEVELS = 16
_FEW_FACTOR, _HIGH = 10.0, 4.0
"""How many times the range of the rest few voxels must be away, and any bright ones."""


@dataclass(frozen=True)
class Scaling:
    """Maps ``offset`` to 0 and ``offset + scale`` to 1; values outside are kept, not clipped.

    Examples
    --------
    >>> scaling = Scaling(offset=0.0, scale=200.0)
    >>> scaling.apply(np.array([0, 100, 300])).tolist()
    [0.0, 0.5, 1.5]
    >>> scaling.invert(np.array([0.5])).tolist()
    [100.0]
    """

    offset: float
    scale: float
    low: float | None = None
    high: float | None = None
    """Values below or above these are fill values, or faults, and no measurements; see `fit`."""

    @classmethod
    def fit(cls, values: npt.NDArray[Any], percentile: float = PERCENTILE) -> Self:
        """Take the percentile as 1 and 0 as 0; where there are negative values, the minimum as 0.

        Of large arrays an even subsample is used. Values far outside all others, such as the
        padding of -32768 around a scan or one voxel of 1e30, count for neither: they are those
        whose distance from the rest is greater than the whole range of the rest, or ten times
        that where they are few.
        """
        flat = values.reshape(-1)[:: max(1, values.size // _AT_MOST)]
        finite = flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat
        if finite.size == 0:
            return cls(0.0, 1.0)
        low, high = _measured_range(values, finite)
        if low is not None or high is not None:
            finite = finite[_is_measured(finite, low, high)]
        offset = min(0.0, float(finite.min()))
        top = float(np.percentile(finite, percentile))
        # A series that is almost all background needs a scale, too.
        top = top if top > offset else float(finite.max())
        return cls(offset, top - offset if top > offset else 1.0, low, high)

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Scale; what is not finite, or no measurement, becomes 0."""
        with np.errstate(over="ignore"):
            scaled = (values.astype(np.float32) - np.float32(self.offset)) / np.float32(self.scale)
        scaled[~np.isfinite(scaled)] = 0
        if self.low is not None or self.high is not None:
            scaled[~_is_measured(values, self.low, self.high)] = 0
        return scaled

    def invert(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return values.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)


def _measured_range(
    values: npt.NDArray[Any], sample: npt.NDArray[Any]
) -> tuple[float | None, float | None]:
    """Return the limits beyond which values are no measurements; None where none are beyond."""
    low: float | None = None
    high: float | None = None
    many = max(2, round(_MANY * sample.size))
    rest = sample.reshape(-1)
    for _ in range(_MOST_FILL_VALUES):
        bottom, top = float(rest.min()), float(rest.max())
        if bottom == top:
            break
        above, below = rest[rest > rest.min()], rest[rest < rest.max()]
        least, most = float(above.min()), float(below.max())
        few_low, few_high = rest.size - above.size < many, rest.size - below.size < many
        # Zero is the background of most scans, however bright what it surrounds.
        if bottom < 0 and 0 < (top - least) * (_FEW_FACTOR if few_low else 1) < least - bottom:
            limit, others = (bottom + least) / 2, above
        elif 0 < (most - bottom) * (_FEW_FACTOR if few_high else _HIGH) < top - most:
            limit, others = (top + most) / 2, below
        else:
            break
        # An image of a few levels, such as a phantom, is not padded.
        if np.unique(others).size <= _FEW_LEVELS:
            break
        low, high = (limit, high) if others is above else (low, limit)
        rest = others
    # One voxel of a large array may not be in the sample.
    reach = _FEW_FACTOR * (top - bottom)
    if low is None and 0 < reach < bottom - float(np.nanmin(values)):
        low = bottom - reach
    if high is None and 0 < reach < float(np.nanmax(values)) - top:
        high = top + reach
    return low, high


def _is_measured(
    values: npt.NDArray[Any], low: float | None, high: float | None
) -> npt.NDArray[np.bool_]:
    measured = np.ones(values.shape, bool)
    if low is not None:
        measured &= values > low
    if high is not None:
        measured &= values < high
    return measured


def without_fill(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an image with 0 in place of what is not finite and of fill values."""
    scaling = Scaling.fit(values)
    measured = _is_measured(values, scaling.low, scaling.high)
    if values.dtype.kind == "f":
        measured &= np.isfinite(values)
    return values if measured.all() else np.where(measured, values, 0)


def fill_note(values: npt.NDArray[Any]) -> str:
    """Say which voxels of an image are fill values or faults; '' where all are measurements.

    Examples
    --------
    >>> image = np.arange(100).reshape(10, 10)
    >>> image[:2] = -32768
    >>> fill_note(image)
    '20 voxels hold -32768, far from all others: they are taken as 0.'
    """
    scaling = Scaling.fit(values)
    parts = []
    if values.dtype.kind == "f" and (count := int((~np.isfinite(values)).sum())):
        parts.append(
            f"{count:,} voxels are not finite, the first at {_first(~np.isfinite(values))}"
        )
    if scaling.low is not None or scaling.high is not None:
        outside = ~_is_measured(values, scaling.low, scaling.high) & np.isfinite(values)
        found = np.unique(values[outside])
        shown = ", ".join(f"{value:g}" for value in found[:3])
        where = "" if len(found) == 1 and outside.sum() > 1 else f", the first at {_first(outside)}"
        verb = "voxel holds" if outside.sum() == 1 else "voxels hold"
        parts.append(f"{int(outside.sum()):,} {verb} {shown}, far from all others{where}")
    return f"{'; '.join(parts)}: they are taken as 0." if parts else ""


def check_image(values: npt.NDArray[Any], name: str) -> None:
    """Refuse an image of nothing: without a finite value, or with one value everywhere."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if finite.size == 0:
        raise MrgenError(f"{name} holds no finite value; give an image.")
    if finite.min() == finite.max():
        raise MrgenError(f"{name} holds the same value everywhere; give an image.")


def _first(marked: npt.NDArray[np.bool_]) -> str:
    index = np.unravel_index(int(marked.argmax()), marked.shape)
    return f"({', '.join(str(int(place)) for place in index)})"


def as_type(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return values as their source stores its own, whole numbers rounded and within its limits."""
    if dtype.kind not in "iu":
        return array.astype(dtype)
    limits = np.iinfo(dtype)
    whole: npt.NDArray[Any] = np.rint(array).clip(limits.min, limits.max).astype(dtype)
    return whole
