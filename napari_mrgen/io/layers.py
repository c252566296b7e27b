"""Volume to napari layer and back, on napari's plain layer-data tuples: the only door between.

A layer's ``scale`` and ``translate`` are those of the display frame (`napari_mrgen.io.geometry`).
The true affine goes along in the metadata; on the way back it follows whatever the user has
changed in the layer since.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Literal, cast

import numpy as np

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.facts import Facts
from napari_mrgen.io.geometry import Affine, display_origin, is_oblique
from napari_mrgen.io.shown import ShownScan, remember, scan_of
from napari_mrgen.volume import Array, Kind, Source, StoredImage, Volume, upright_affine

LayerData = tuple[Any, dict[str, Any], str]
Fields = Mapping[str, Any]

KEY = "napari_mrgen"
"""Where in a layer's metadata the fields of its Volume are kept, as plain data."""

_SAMPLED = 50_000
_GUESSED_AXES = {2: "yx", 3: "zyx", 4: "tzyx", 5: "ntzyx"}
_ORDER = "cntzyx"
_STEP_NAMES = {"t": "frame", "n": "sample", "c": "channel"}
_VOXEL = "voxel"
_OBLIQUE = "The scan is oblique: it is shown upright, its centre in place; its affine is kept."

_MILLIMETRES = {"mm": 1.0, "millimeter": 1.0, "um": 1e-3, "micrometer": 1e-3}
_SECONDS = {"s": 1.0, "second": 1.0, "ms": 1e-3, "millisecond": 1e-3}
"""Units that are converted without pint, whose loading takes longer than reading a cine."""
_NAMES_OF_AXES = {
    "n": "n sample samples case cases",
    "t": "t time frame frames",
    "c": "c channel channels",
    "z": "z slice slices plane planes depth",
    "y": "y row rows height",
    "x": "x column columns width",
}
_LETTERS = {name: axis for axis, names in _NAMES_OF_AXES.items() for name in names.split()}


@dataclass(frozen=True)
class World:
    """Where and when a layer is.

    Attributes
    ----------
    space
        (4, 4) from ``(z, y, x)`` indices to world mm.
    clock
        Interval of the frames and time of the first in s; None where there is no unit of time.
    missing
        Which of ``z, y, x`` the layer has not, as numbers.
    lengths_known
        Whether lengths along the others have a unit; else they count voxels.
    """

    space: Affine
    clock: tuple[float, float] | None
    missing: tuple[int, ...] = ()
    lengths_known: bool = True


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
    remember(volume, array, _placed(scale, translate))
    return array, keywords, volume.kind


def from_layer(layer: LayerData) -> Volume:
    """Return the Volume of a layer's tuple, such as ``Layer.as_layer_data_tuple`` gives.

    All of the layer's transforms count: scale, translate, rotate, shear and affine, in its units.
    Its axes are those that its labels name, in whatever order. A layer that napari made over a
    scan, such as its New labels, lies where it lies on that scan (`napari_mrgen.io.shown`); one
    that comes from elsewhere is taken to lie in the ordinary display frame. Lengths without a unit
    count voxels, not millimetres.

    Raises
    ------
    MrgenError
        If the layer has several values a voxel, or axes of which no volume can be made.
    """
    data, keywords, kind = layer
    array = _array(data, keywords, kind)
    fields: Fields = keywords.get("metadata", {}).get(KEY, {})
    letters = _axes(array, keywords, fields)
    world = data_to_world(keywords, letters)
    array, axes = _ordered(array, letters, keywords)
    scan = _scan_below(array.shape[-3:], keywords, world)
    affine = upright_affine() @ world.space
    if scan is not None:
        affine = scan.affine_of(world.space, world.missing)
    volume = Volume(
        array=array,
        axes=axes,
        affine=affine,
        kind=cast("Kind", kind),
        source=_source(keywords, scan, lengths_known=world.lengths_known),
    )
    times = fields.get("times") or (scan.times if scan else None)
    own: dict[str, Any] = {
        "name": keywords.get("name", ""),
        "times": _times(array, axes, world.clock, times),
    }
    if "n" not in axes:
        own |= {"samples": None, "cases": ()}
    if "t" not in axes:
        own["labelled_frames"] = ()
    return Facts.model_validate(fields).model_copy(update=own).apply(volume)


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
    step = {"n": 1.0, "c": 1.0, "t": volume.frame_interval or 1.0}
    start = {"n": 0.0, "c": 0.0, "t": times[0]}
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
        "shape": list(volume.array.shape[-3:]),
        "scale": list(scale),
        "translate": list(translate),
        "source": None if volume.source is None else asdict(volume.source),
        "notes": [*notes, _OBLIQUE] if is_oblique(volume.affine) else [*notes],
        **Facts.of(volume).model_dump(),
    }


def _placed(scale: Sequence[float], translate: Sequence[float]) -> Affine:
    """Return the (4, 4) matrix of the last three axes of a layer's scale and translate."""
    matrix = np.diag([*scale[-3:], 1.0])
    matrix[:3, 3] = translate[-3:]
    return matrix


def _scan_below(shape: Sequence[int], keywords: Fields, world: World) -> ShownScan | None:
    """Return the scan on which a layer lies: its own by its metadata, or one that was shown."""
    name, fields = keywords.get("name", ""), keywords.get("metadata", {}).get(KEY, {})
    z, y, x = shape
    if "affine" not in fields:
        has_units = world.lengths_known
        return scan_of(name, world.space, (z, y, x), world.missing, has_units=has_units)
    return ShownScan(
        name=name,
        affine=np.array(fields["affine"], np.float64),
        shown=_placed(fields["scale"], fields["translate"]),
        shape=tuple(fields["shape"]) if "shape" in fields else None,
        source=source_of(keywords),
    )


def _source(keywords: Fields, scan: ShownScan | None, *, lengths_known: bool) -> Source | None:
    """Return the source of a layer: its own, or that from which a scan below has its voxel grid."""
    own = source_of(keywords)
    if own is None and scan is not None and scan.source is not None:
        below = scan.source
        own = Source(
            axes=below.axes, flips=below.flips, codes=below.codes, spacing_known=below.spacing_known
        )
    if lengths_known:
        return own if own is None or own.spacing_known else replace(own, spacing_known=True)
    return own if scan is not None else replace(own or Source(), spacing_known=False)


def _array(data: Any, keywords: Fields, kind: str) -> Array:
    if kind not in ("image", "labels"):
        msg = f"The layer {keywords.get('name', '')!r} is of type {kind}; image or labels expected."
        raise MrgenError(msg)
    if keywords.get("rgb"):
        msg = f"The layer {keywords.get('name', '')!r} is in colour; one value a voxel is needed."
        raise MrgenError(msg)
    if keywords.get("multiscale"):
        data = data[0]
    array = np.asarray(data)
    if array.dtype.kind not in "biuf":
        name = keywords.get("name", "")
        msg = f"The layer {name!r} holds values of type {array.dtype}; real numbers are needed."
        raise MrgenError(msg)
    return array


def _axes(array: Array, keywords: Fields, fields: Fields) -> str:
    """Return a letter for each axis of a layer: by its labels where they name any, else by number.

    Labels such as napari's own, "-3", name nothing; where some do and others do not, the others
    are as usual if those that do are where they usually are.
    """
    labels = [str(label) for label in keywords.get("axis_labels") or ()]
    letters = [_LETTERS.get(label.strip().lower(), "") for label in labels]
    named = [letter for letter in letters if letter]
    usual = fields.get("axes", "")
    if len(usual) != array.ndim:
        usual = _GUESSED_AXES.get(array.ndim, "")
    if not named:
        if usual:
            return str(usual)
        msg = (
            f"The layer {keywords.get('name', '')!r} has {array.ndim} axes; two to four are "
            "needed, (t, z, y, x) for a cine."
        )
        raise MrgenError(msg)
    if len(named) < len(letters) == len(usual):
        pairs = zip(letters, usual, strict=True)
        letters = [*usual] if all(one in ("", other) for one, other in pairs) else letters
    axes = "".join(letters)
    is_space = len([axis for axis in axes if axis in "zyx"]) >= 2
    if len(axes) == array.ndim == len(set(axes)) and is_space:
        return axes
    alike = "labels two axes alike" if len(set(named)) < len(named) else "has unclear axis labels"
    msg = (
        f"The layer {keywords.get('name', '')!r} {alike} ({', '.join(labels)}); call each axis by "
        "another of t, z, y and x (n for samples, c for channels), or none by any."
    )
    raise MrgenError(msg)


def _ordered(array: Array, letters: str, keywords: Fields) -> tuple[Array, str]:
    """Return the array with its axes in the order of a `Volume`, and these."""
    axes = "".join(axis for axis in _ORDER if axis in letters)
    array = array.transpose([letters.index(axis) for axis in axes])
    if "c" in axes and len(array) == 1:
        array, axes = array[0], axes[1:]
    if "c" in axes and not set(axes) <= set("czyx"):
        msg = (
            f"The layer {keywords.get('name', '')!r} has {len(array)} channels and "
            f"{'frames' if 't' in axes else 'samples'}; split the stack into layers."
        )
        raise MrgenError(msg)
    array = array[(..., *(slice(None) if axis in axes else None for axis in "zyx"))]
    return array, axes.rstrip("zyx") + "zyx"


def _times(
    array: Array,
    axes: str,
    clock: tuple[float, float] | None,
    exact: Sequence[float] | None,
) -> tuple[float, ...] | None:
    """Return when frames are: as the layer's clock says, or more exactly by what was read."""
    if clock is None or "t" not in axes:
        return None
    interval, start = clock
    frames = array.shape[axes.index("t")]
    even = tuple(start + interval * frame for frame in range(frames))
    if exact and len(exact) == frames and np.allclose((exact[0], exact[-1]), (even[0], even[-1])):
        return tuple(exact)
    return even


def data_to_world(keywords: Mapping[str, Any], axes: str) -> World:
    """Compose what napari keeps apart: scale, shear, rotate and translate, then affine.

    Parameters
    ----------
    axes
        A letter for each of the layer's axes, in any order. Of an axis that is not there, the world
        has a voxel of 1.
    """
    ndim = len(axes)
    matrix = np.diag([*_tail(keywords.get("scale"), ndim, 1.0), 1.0])
    rotate = keywords.get("rotate")  # A layer's tuple always holds a matrix.
    for part in (_shear(keywords.get("shear")), np.eye(1) if rotate is None else rotate):
        matrix[:-1, :-1] = _embedded(np.asarray(part, np.float64), ndim) @ matrix[:-1, :-1]
    matrix[:-1, -1] = _tail(keywords.get("translate"), ndim, 0.0)
    if keywords.get("affine") is not None:
        matrix = _embedded(np.asarray(keywords["affine"], np.float64), ndim + 1) @ matrix
    units = _units(keywords, ndim)
    places = [place for place, axis in enumerate(axes) if axis in "zyx"]
    others = [place for place, axis in enumerate(axes) if axis not in "zyx"]
    lengths = [_in("mm", units[place]) for place in places]
    if np.any(matrix[np.ix_(others, places)]) or np.any(matrix[np.ix_(places, others)]):
        msg = (
            f"The layer {keywords.get('name', '')!r} is turned out of its time axis; "
            "reset its transform."
        )
        raise MrgenError(msg)
    clock = None
    if "t" in axes:
        t = axes.index("t")
        second = _in("s", units[t])
        clock = second and (float(matrix[t, t]) * second, float(matrix[t, -1]) * second)
    space = np.eye(4)
    rows = ["zyx".index(axes[place]) for place in places]
    space[np.ix_([*rows, 3], [*rows, 3])] = matrix[np.ix_([*places, ndim], [*places, ndim])]
    space[rows] *= np.array([1.0 if one is None else one for one in lengths])[:, None]
    missing = tuple(place for place in range(3) if place not in rows)
    return World(space, clock or None, missing, None not in lengths)


def _units(keywords: Fields, ndim: int) -> list[str]:
    units = keywords.get("units") or ""
    if isinstance(units, str) or not isinstance(units, Sequence):
        return [str(units)] * ndim  # One for all.
    return [""] * (ndim - len(units)) + [str(unit) for unit in units]


@cache
def _in(target: Literal["mm", "s"], unit: str) -> float | None:
    """Return a unit in millimetres or seconds; None where it is none of length or of time.

    A pixel is none, and neither are the units of this program that count steps and voxels.
    """
    quick = _MILLIMETRES if target == "mm" else _SECONDS
    if unit in quick:
        return quick[unit]
    if unit in ("", "pixel", _VOXEL, *_STEP_NAMES.values(), *_MILLIMETRES, *_SECONDS):
        return None
    try:
        import pint
    except ImportError:
        return None
    registry: Any = pint.get_application_registry()  # type: ignore[no-untyped-call]
    try:
        return float(registry.parse_expression(unit).to(target).magnitude)
    except (pint.PintError, AttributeError, TypeError, ValueError):
        return None


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
