"""Volume to napari layer and back, on napari's plain layer-data tuples: the only door between.

A layer's ``scale`` and ``translate`` are those of the display frame (`napari_mrgen.io.geometry`).
The true affine goes along in the metadata; on the way back it follows whatever the user has
changed in the layer since.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.facts import Facts
from napari_mrgen.io.geometry import Affine, display_origin, is_oblique
from napari_mrgen.volume import Array, Kind, Source, StoredImage, Volume, upright_affine

LayerData = tuple[Any, dict[str, Any], str]
Fields = Mapping[str, Any]

KEY = "napari_mrgen"
"""Where in a layer's metadata the fields of its Volume are kept, as plain data."""

_SAMPLED = 50_000
_GUESSED_AXES = {2: "yx", 3: "zyx", 4: "tzyx", 5: "ntzyx"}
_STEP_NAMES = {"t": "frame", "n": "sample"}
_VOXEL = "voxel"
_OBLIQUE = "The scan is oblique: it is shown upright, its centre in place; its affine is kept."

_SECONDS = {"second": 1.0, "s": 1.0, "millisecond": 1e-3, "ms": 1e-3, "minute": 60.0}
_MILLIMETRES = {
    "millimeter": 1.0, "mm": 1.0, "meter": 1e3, "m": 1e3, "centimeter": 10.0, "cm": 10.0,
    "micrometer": 1e-3, "um": 1e-3, "micron": 1e-3,
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """Where and when a layer is.

    Attributes
    ----------
    space
        (4, 4) from ``(z, y, x)`` indices to world mm.
    clock
        Interval of the frames and time of the first in s; None where there is no unit of time.
    """

    space: Affine
    clock: tuple[float, float] | None


def to_layer(volume: Volume) -> LayerData:
    """Return the tuple of which napari makes a layer, with geometry and units always set.

    A cine whose times are not known counts frames, not seconds; a volume whose voxel size is not
    known counts voxels, not millimetres.

    Examples
    --------
    >>> from napari_mrgen.samples import beating_heart
    >>> cine, _ = beating_heart(frames=4, slices=2, size=32)
    >>> array, keywords, kind = to_layer(cine)
    >>> array.shape, keywords["axis_labels"], keywords["units"], kind
    ((4, 2, 32, 32), ('t', 'z', 'y', 'x'), ('s', 'mm', 'mm', 'mm'), 'image')
    >>> from_layer((array, keywords, kind)).times == cine.times
    True
    """
    array = volume.array
    scale, translate = _shown(volume)
    units = tuple(_unit(axis, volume) for axis in volume.axes)
    _define_steps()
    keywords: dict[str, Any] = {
        "name": volume.name,
        "scale": scale,
        "translate": translate,
        "units": units,
        "axis_labels": tuple(volume.axes),
        "metadata": {KEY: _fields(volume)},
    }
    if volume.kind == "image":
        keywords |= {"contrast_limits": contrast_limits(array), "colormap": "gray"}
    elif array.dtype.kind not in "iu":
        array = array.astype(np.int32)
    return array, keywords, volume.kind


def from_layer(layer: LayerData) -> Volume:
    """Return the Volume of a layer's tuple, such as ``Layer.as_layer_data_tuple`` gives.

    All of the layer's transforms count: scale, translate, rotate, shear and affine, in its units.
    A layer that comes from elsewhere is taken to lie in the ordinary display frame.
    """
    data, keywords, kind = layer
    array = _array(data, keywords, kind)
    fields: Fields = keywords.get("metadata", {}).get(KEY, {})
    axes = _axes(array, keywords, fields)
    world = data_to_world(keywords, axes)
    if "z" not in axes:
        array = np.expand_dims(array, -3)
        axes = axes[:-2] + "zyx"
    volume = Volume(
        array=array,
        axes=axes,
        affine=_scanner_affine(world.space, fields),
        kind=cast("Kind", kind),
        source=source_of(keywords),
    )
    facts = Facts.model_validate(fields).model_copy(
        update={
            "name": keywords.get("name", ""),
            "times": _times(array, axes, world.clock, fields),
        }
    )
    return facts.apply(volume)


def source_of(keywords: Fields) -> Source | None:
    """Return the file that a layer was read from, given its tuple's keywords."""
    fields = keywords.get("metadata", {}).get(KEY, {}).get("source")
    if fields is None:
        return None
    stored = fields["stored"]
    return Source(**{**fields, "stored": StoredImage(**stored) if stored else None})


def contrast_limits(array: Array) -> tuple[float, float]:
    """Return the 0.5th and 99.5th percentile of a sample of the values: quick, robust."""
    flat = array.reshape(-1)
    step = max(1, flat.size // _SAMPLED)
    while math.gcd(step, array.shape[-1]) > 1:
        step += 1  # or the sample would hold some columns only
    for values in (flat[::step], flat):
        finite = values[np.isfinite(values)]
        if finite.size:
            # np.percentile would say the same; its first call alone takes a fifth of a reading.
            last = finite.size - 1
            places = (math.floor(0.005 * last), math.ceil(0.995 * last))
            ordered = np.partition(finite, (0, *places, last))
            for low, high in (ordered[[*places]], ordered[[0, last]]):
                if low < high:
                    return float(low), float(high)
    return (float(finite[0]), float(finite[0]) + 1) if finite.size else (0.0, 1.0)


def _shown(volume: Volume) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return scale and translate of a volume's layer."""
    times = volume.times or (0.0,)
    step = {"n": 1.0, "t": volume.frame_interval or 1.0}
    start = {"n": 0.0, "t": times[0]}
    lead = volume.axes[:-3]
    origin = display_origin(volume.affine, volume.array.shape[-3:])
    scale = (*(step[axis] for axis in lead), *volume.spacing)
    translate = (*(start[axis] for axis in lead), *(float(mm) for mm in origin))
    return scale, translate


def _unit(axis: str, volume: Volume) -> str:
    if axis == "t" and volume.frame_interval:
        return "s"
    return _STEP_NAMES.get(axis, "mm" if volume.spacing_known else _VOXEL)


def _define_steps() -> None:
    """Teach pint, in which napari keeps units, the units of axes that count steps or voxels.

    napari drops the units of all layers when those of one axis cannot be converted into one
    another, say s and pixel. So a step is a unit by name only, and a second to pint; a voxel is a
    millimetre to it. Where pint is
    not loaded there is no napari that asks, and loading it would take longer than reading a cine.
    """
    if "pint" not in sys.modules:
        return
    import pint

    registry: Any = pint.get_application_registry()  # type: ignore[no-untyped-call]
    for name, like in (*((step, "second") for step in _STEP_NAMES.values()), (_VOXEL, "mm")):
        if name not in registry:
            registry.define(f"{name} = {like}")


def _fields(volume: Volume) -> dict[str, Any]:
    scale, translate = _shown(volume)
    notes = volume.source.notes if volume.source else ()
    return {
        "axes": volume.axes,
        "affine": volume.affine.tolist(),
        "scale": list(scale),
        "translate": list(translate),
        "source": None if volume.source is None else asdict(volume.source),
        "notes": [*notes, _OBLIQUE] if is_oblique(volume.affine) else [*notes],
        **Facts.of(volume).model_dump(),
    }


def _array(data: Any, keywords: Fields, kind: str) -> Array:
    if kind not in ("image", "labels"):
        msg = f"The layer {keywords.get('name', '')!r} is of type {kind}; image or labels expected."
        raise MrgenError(msg)
    if keywords.get("rgb"):
        msg = f"The layer {keywords.get('name', '')!r} is in colour; one value a voxel is needed."
        raise MrgenError(msg)
    if keywords.get("multiscale"):
        data = data[0]
    return np.asarray(data)


def _axes(array: Array, keywords: Fields, fields: Fields) -> str:
    """Return a layer's axes: by its labels where they are our letters, else by their number."""
    labels = "".join(str(label) for label in keywords.get("axis_labels") or ())
    for axes in (labels, fields.get("axes", ""), _GUESSED_AXES.get(array.ndim, "")):
        if len(axes) == array.ndim and axes in ("yx", "zyx", "tyx", "nyx", "tzyx", "nzyx", "ntzyx"):
            return str(axes)
    msg = (
        f"The layer {keywords.get('name', '')!r} has {array.ndim} axes; two to four are needed, "
        "(t, z, y, x) for a cine."
    )
    raise MrgenError(msg)


def _scanner_affine(space: Affine, fields: Fields) -> Affine:
    """Return the affine to the scanner, given the layer's own to the viewer's world in mm."""
    if "affine" not in fields:
        return np.asarray(upright_affine() @ space)
    affine = np.array(fields["affine"], np.float64)
    shown = np.diag([*fields["scale"][-3:], 1.0])
    shown[:3, 3] = fields["translate"][-3:]
    if np.allclose(space, shown, rtol=1e-6, atol=1e-6):
        return affine
    return np.asarray(affine @ np.linalg.inv(shown) @ space)


def _times(
    array: Array, axes: str, clock: tuple[float, float] | None, fields: Fields
) -> tuple[float, ...] | None:
    if clock is None or "t" not in axes:
        return None
    interval, start = clock
    frames = array.shape[axes.index("t")]
    even = tuple(start + interval * frame for frame in range(frames))
    exact = fields.get("times")
    if exact and len(exact) == frames and np.allclose((exact[0], exact[-1]), (even[0], even[-1])):
        return tuple(exact)
    return even


def data_to_world(keywords: Mapping[str, Any], axes: str) -> World:
    """Compose what napari keeps apart: scale, shear, rotate and translate, then affine.

    Lengths without a unit count as mm. A clock needs a unit of time: frames have none.
    """
    ndim, lead = len(axes), len(axes.rstrip("zyx"))
    matrix = np.diag([*_tail(keywords.get("scale"), ndim, 1.0), 1.0])
    rotate = keywords.get("rotate")  # A layer's tuple always holds a matrix.
    for part in (_shear(keywords.get("shear")), np.eye(1) if rotate is None else rotate):
        matrix[:-1, :-1] = _embedded(np.asarray(part, np.float64), ndim) @ matrix[:-1, :-1]
    matrix[:-1, -1] = _tail(keywords.get("translate"), ndim, 0.0)
    if keywords.get("affine") is not None:
        matrix = _embedded(np.asarray(keywords["affine"], np.float64), ndim + 1) @ matrix
    units = [str(unit) for unit in keywords.get("units") or [""] * ndim]
    scale = [_MILLIMETRES.get(unit, 1.0) * _SECONDS.get(unit, 1.0) for unit in units]
    matrix = np.diag([*scale, 1.0]) @ matrix
    if np.any(matrix[:lead, lead:-1]) or np.any(matrix[lead:-1, :lead]):
        msg = (
            f"The layer {keywords.get('name', '')!r} is turned out of its time axis; "
            "reset its transform."
        )
        raise MrgenError(msg)
    t = axes.find("t")
    has_clock = t >= 0 and units[t] in _SECONDS
    clock = (float(matrix[t, t]), float(matrix[t, -1])) if has_clock else None
    return World(_embedded(np.delete(np.delete(matrix, range(lead), 0), range(lead), 1), 4), clock)


def _tail(values: Sequence[float] | None, ndim: int, default: float) -> list[float]:
    own = [] if values is None else [float(value) for value in values]
    return [default] * (ndim - len(own)) + own


def _shear(values: Any) -> Affine:
    """Return the shear matrix; a vector holds its upper triangle, row by row."""
    shear = np.asarray([] if values is None else values, np.float64)
    if shear.ndim == 2:
        return shear
    matrix = np.eye(round((1 + np.sqrt(1 + 8 * shear.size)) / 2))
    matrix[np.triu_indices(len(matrix), 1)] = shear
    return matrix


def _embedded(matrix: Affine, size: int) -> Affine:
    """Return the matrix as the last axes of a larger identity."""
    whole = np.eye(size)
    first = size - len(matrix)
    whole[first:, first:] = matrix
    return whole
