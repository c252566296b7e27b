"""Volume to napari layer and back, on napari's plain layer-data tuples: the only door between.

A layer's ``scale`` and ``translate`` are those of the display frame (`napari_mrgen.io.geometry`).
The true affine goes along in the metadata; on the way back it follows whatever the user has
changed in the layer since.
"""

from __future__ import annotations

import functools
import math
import sys
import warnings
from collections import deque
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

_AXIS_WORDS = {
    "t": "t", "time": "t", "frame": "t", "phase": "t", "n": "n", "sample": "n", "case": "n",
    "z": "z", "slice": "z", "plane": "z", "y": "y", "row": "y", "x": "x", "column": "x", "col": "x",
}  # fmt: skip
"""What people call axes, and our letters for them."""
_ORDER = "ntzyx"
_TOLERANCE = 0.51
"""By so much of a voxel a layer may reach beyond the scan that it was drawn over."""


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


@dataclass(frozen=True)
class _Shown:
    """Where a scan of ours stands in the viewer, and the way from there to the scanner."""

    name: str
    shape: tuple[int, ...]
    space: Affine
    to_scanner: Affine
    spacing_known: bool


_shown_scans: deque[_Shown] = deque(maxlen=200)
"""The scans that became layers, the last one at the end: of a layer that was drawn over one, napari
keeps only where it stands in the viewer."""


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
    _remember(volume, scale, translate)
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
    A layer that was drawn over a scan of ours, such as new labels, lies where that scan does. Any
    other is taken to lie in the ordinary display frame, and has no millimetres without a unit of
    length. Axes are put in order by their labels.
    """
    data, keywords, kind = layer
    array, keywords = _in_order(_array(data, keywords, kind), keywords)
    fields: Fields = keywords.get("metadata", {}).get(KEY, {})
    axes = _axes(array, keywords, fields)
    world = data_to_world(keywords, axes)
    is_flat = "z" not in axes
    if is_flat:
        array = np.expand_dims(array, -3)
        axes = axes[:-2] + "zyx"
    source = source_of(keywords)
    if "affine" in fields:
        affine = _scanner_affine(world.space, fields)
    else:
        name = str(keywords.get("name", ""))
        scan = _drawn_over(world.space, array.shape[-3:], name, is_flat=is_flat)
        affine = _affine_over(scan, world.space, is_flat=is_flat)
        has_length = scan.spacing_known if scan else _has_length(keywords)
        source = source or (None if has_length else Source(spacing_known=False))
    volume = Volume(
        array=array,
        axes=axes,
        affine=affine,
        kind=cast("Kind", kind),
        source=source,
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


def _in_order(array: Array, keywords: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
    """Put the axes of a layer that labels them otherwise into the order n, t, z, y, x."""
    words = [str(label).strip().lower() for label in keywords.get("axis_labels") or ()]
    letters = [_AXIS_WORDS.get(word, "") for word in words]
    if len(letters) != array.ndim or not all(letters):
        return array, keywords
    if len(set(letters)) < len(letters):
        msg = (
            f"The layer {keywords.get('name', '')!r} labels two axes alike "
            f"({', '.join(words)}); give each axis a label of its own."
        )
        raise MrgenError(msg)
    order = sorted(range(array.ndim), key=lambda axis: _ORDER.index(letters[axis]))
    changes: dict[str, Any] = {"axis_labels": tuple(letters[axis] for axis in order)}
    if order != list(range(array.ndim)):
        for name, default in (("scale", 1.0), ("translate", 0.0)):
            values = _tail(keywords.get(name), array.ndim, default)
            changes[name] = [values[axis] for axis in order]
        units = keywords.get("units")
        if units is not None and len(units) == array.ndim:
            changes["units"] = tuple(units[axis] for axis in order)
        rotate = np.eye(1) if keywords.get("rotate") is None else np.asarray(keywords["rotate"])
        linear = {"rotate": rotate, "shear": _shear(keywords.get("shear"))}
        for name, matrix in linear.items():
            changes[name] = _embedded(matrix, array.ndim)[np.ix_(order, order)]
        if keywords.get("affine") is not None:
            whole = _embedded(np.asarray(keywords["affine"], np.float64), array.ndim + 1)
            places = [*order, array.ndim]
            changes["affine"] = whole[np.ix_(places, places)]
    return array.transpose(order), {**keywords, **changes}


def _remember(volume: Volume, scale: Sequence[float], translate: Sequence[float]) -> None:
    space = np.diag([*scale[-3:], 1.0])
    space[:3, 3] = translate[-3:]
    shape = volume.array.shape[-3:]
    to_scanner = volume.affine @ np.linalg.inv(space)
    _shown_scans.append(_Shown(volume.name, shape, space, to_scanner, volume.spacing_known))


def forget_shown() -> None:
    """Forget which scans became layers, as in a new session."""
    _shown_scans.clear()


def _drawn_over(
    space: Affine, shape: tuple[int, ...], name: str, *, is_flat: bool
) -> _Shown | None:
    """Return the scan whose place in the viewer a layer has, None where it has that of none.

    One on the voxels of a scan, or on a part of them, is meant before one that only lies within a
    scan, or around it. Of several the last one opened is taken, and that is said where it matters.
    """
    fits = [(_fit(space, shape, scan, is_flat=is_flat), scan) for scan in reversed(_shown_scans)]
    best = max((fit for fit, _ in fits), default=0)
    fitting = [scan for fit, scan in fits if fit == best]
    if not best:
        ordinary = upright_affine()
        if any(not np.allclose(scan.to_scanner, ordinary, atol=1e-4) for scan in _shown_scans):
            warnings.warn(
                f"The layer {name!r} lies over no scan that was opened here: it is saved as it "
                "stands in the viewer, which may show scans turned.",
                stacklevel=3,
            )
        return None
    taken = fitting[0]
    if any(not np.allclose(scan.to_scanner, taken.to_scanner, atol=1e-4) for scan in fitting):
        others = ", ".join(sorted({scan.name for scan in fitting} - {taken.name}))
        warnings.warn(
            f"The layer {name!r} lies over several scans of different orientation: it is saved as "
            f"drawn over {taken.name!r}, the last one opened, not {others}.",
            stacklevel=3,
        )
    return taken


def _fit(space: Affine, shape: tuple[int, ...], scan: _Shown, *, is_flat: bool) -> int:
    """Return how well a layer fits a scan: 0 where it does not.

    3 on all of its voxels, 2 on some of them, 1 within it or around it.
    """
    voxels = np.linalg.inv(scan.space) @ space
    corners = np.array(np.meshgrid(*[(-0.5, size - 0.5) for size in shape], indexing="ij"))
    places = voxels[:3, :3] @ corners.reshape(3, -1) + voxels[:3, 3:]
    first = 1 if is_flat else 0
    low, high = places.min(1)[first:], places.max(1)[first:]
    end = np.array(scan.shape[-3:], np.float64)[first:] - 0.5
    is_within = bool((low >= -0.5 - _TOLERANCE).all() and (high <= end + _TOLERANCE).all())
    is_around = bool((low <= -0.5 + _TOLERANCE).all() and (high >= end - _TOLERANCE).all())
    linear, offset = voxels[first:3, first:3], voxels[first:3, 3]
    is_on_voxels = np.allclose(linear, np.eye(3 - first), atol=1e-4) and np.allclose(
        offset, np.round(offset), atol=1e-2
    )
    if is_within and is_on_voxels:
        return 3 if is_around else 2
    return int(is_within or is_around)


def _affine_over(scan: _Shown | None, space: Affine, *, is_flat: bool) -> Affine:
    """Return the affine to the scanner of a layer, given the scan that it was drawn over.

    A layer without slices is put on the first slice of the scan.
    """
    if scan is None:
        return np.asarray(upright_affine() @ space)
    if is_flat:
        space = space.copy()
        space[0] = scan.space[0]
    return np.asarray(scan.to_scanner @ space)


def _has_length(keywords: Fields) -> bool:
    """Whether a layer's lengths are known in millimetres; without any units they count as such."""
    units = keywords.get("units")
    return units is None or all(_in_unit(str(unit), "mm") for unit in list(units)[-2:])


@functools.cache
def _in_unit(unit: str, like: str) -> float | None:
    """Return how many ``like`` a unit is; None where it measures something else."""
    import pint

    registry: Any = pint.get_application_registry()  # type: ignore[no-untyped-call]
    if unit in (*_STEP_NAMES.values(), _VOXEL, ""):
        return None
    try:
        return float(registry.Quantity(1, unit).to(like).magnitude)
    except (pint.PintError, AttributeError, TypeError, ValueError, AssertionError):
        return None


def _scanner_affine(space: Affine, fields: Fields) -> Affine:
    """Return the affine to the scanner of a layer that was a Volume, by where it stands now."""
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
    scale = [
        _in_unit(unit, "s" if axis == "t" else "mm") or 1.0
        for axis, unit in zip(axes, units, strict=True)
    ]
    matrix = np.diag([*scale, 1.0]) @ matrix
    if np.any(matrix[:lead, lead:-1]) or np.any(matrix[lead:-1, :lead]):
        msg = (
            f"The layer {keywords.get('name', '')!r} is turned out of its time axis; "
            "reset its transform."
        )
        raise MrgenError(msg)
    t = axes.find("t")
    has_clock = t >= 0 and _in_unit(units[t], "s") is not None
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
