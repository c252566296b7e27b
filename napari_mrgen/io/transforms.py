"""The transforms of a napari layer, composed: from its indices to world millimetres and seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.geometry import Affine

_SECONDS = {"second": 1.0, "s": 1.0, "millisecond": 1e-3, "ms": 1e-3, "minute": 60.0}
_MILLIMETRES = {
    "millimeter": 1.0,
    "mm": 1.0,
    "meter": 1e3,
    "m": 1e3,
    "centimeter": 10.0,
    "cm": 10.0,
    "micrometer": 1e-3,
    "um": 1e-3,
    "micron": 1e-3,
}


@dataclass(frozen=True)
class Clock:
    """When frames are, in s."""

    step: float
    start: float


@dataclass(frozen=True)
class World:
    """Where a layer is: (4, 4) from ``(z, y, x)`` indices to world mm, and when, if it says so."""

    space: Affine
    clock: Clock | None


def data_to_world(keywords: Mapping[str, Any], axes: str) -> World:
    """Compose what napari keeps apart: scale, shear, rotate and translate, then affine.

    Lengths without a unit count as mm. A clock needs a unit of time: frames have none.
    """
    ndim = len(axes)
    matrix = _physical(keywords, ndim)
    if keywords.get("affine") is not None:
        matrix = _embedded(np.asarray(keywords["affine"], np.float64), ndim + 1) @ matrix
    units = [str(unit) for unit in keywords.get("units") or [""] * ndim]
    scale = [_MILLIMETRES.get(unit, 1.0) * _SECONDS.get(unit, 1.0) for unit in units]
    matrix = np.diag([*scale, 1.0]) @ matrix
    lead = len(axes.rstrip("zyx"))
    if np.any(matrix[:lead, lead:-1]) or np.any(matrix[lead:-1, :lead]):
        msg = (
            f"The layer {keywords.get('name', '')!r} is turned out of its time axis; "
            "reset its transform."
        )
        raise MrgenError(msg)
    clock = None
    if "t" in axes and units[axes.index("t")] in _SECONDS:
        t = axes.index("t")
        clock = Clock(float(matrix[t, t]), float(matrix[t, -1]))
    return World(_embedded(np.delete(np.delete(matrix, range(lead), 0), range(lead), 1), 4), clock)


def _physical(keywords: Mapping[str, Any], ndim: int) -> Affine:
    """Return the (ndim + 1) square matrix of scale, shear, rotate and translate, in this order."""
    scale = np.diag(_tail(keywords.get("scale"), ndim, 1.0))
    matrix = np.eye(ndim + 1)
    matrix[:-1, :-1] = (
        _rotation(keywords.get("rotate"), ndim) @ _shear(keywords.get("shear"), ndim) @ scale
    )
    matrix[:-1, -1] = _tail(keywords.get("translate"), ndim, 0.0)
    return matrix


def _tail(values: Sequence[float] | None, ndim: int, default: float) -> list[float]:
    given = [] if values is None else [float(value) for value in values]
    return [default] * (ndim - len(given)) + given


def _shear(values: Any, ndim: int) -> Affine:
    """Return the shear matrix; a vector holds its upper triangle, row by row."""
    shear = np.asarray([] if values is None else values, np.float64)
    if shear.ndim == 2:
        return _embedded(shear, ndim)
    size = round((1 + np.sqrt(1 + 8 * shear.size)) / 2)
    matrix = np.eye(size)
    matrix[np.triu_indices(size, 1)] = shear
    return _embedded(matrix, ndim)


def _rotation(values: Any, ndim: int) -> Affine:
    """Return the rotation matrix; a layer's tuple always holds a matrix."""
    return np.eye(ndim) if values is None else _embedded(np.asarray(values, np.float64), ndim)


def _embedded(matrix: Affine, size: int) -> Affine:
    """Return the matrix as the last axes of a larger identity."""
    whole = np.eye(size)
    first = size - len(matrix)
    whole[first:, first:] = matrix
    return whole
