"""From a Volume to the header and the stored array of a NIfTI file, and from stored to values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np

from napari_mrgen.io.geometry import PLAIN, Affine, Order
from napari_mrgen.io.header import HEADER_CLASSES, HEADER_SIZES, LABEL_INTENT, PROGRAM, SAMPLES
from napari_mrgen.volume import Array, Volume

Source = Mapping[str, Any]
Scaling = tuple[float, float] | None

_ALIGNED = 2
_LONGEST_NIFTI1 = 32767
_EXTENSION_FLAG = bytes(4)


def decode(stored: Array, scaling: Scaling) -> Array:
    """Return values from stored ones: native byte order, and float32 where they are scaled."""
    if scaling is None:
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    slope, intercept = scaling
    values = stored.astype(np.float32)
    values *= np.float32(slope)
    values += np.float32(intercept)
    return values


def encode(volume: Volume) -> tuple[bytes, Array]:
    """Return all bytes before the first voxel, and the array to store, ``(i, j, k, ...)``.

    A volume that is as it was read gets the header and the numbers that it was read from. Any other
    gets a new header, and keeps its source's order of axes and sform code.
    """
    source = volume.source or {}
    order = _order(source)
    array = order.undo(volume.array)
    if _is_in_place(volume, source, array.shape):
        stored = _requantised(array, np.dtype(source["dtype"]), source["scaling"])
        if stored is not None:
            return _old_header(source), stored.reshape(source["shape"], order="F")
    array = _storable(volume, array)
    affine = order.stored_affine(volume.affine, array.shape)
    return _new_header(volume, array, affine, source), array


def is_spacing_known(source: Source | None) -> bool:
    """Whether a volume's voxel size is known; PNG, or a model trained on it, knows none."""
    return bool((source or {}).get("spacing_known", True))


def _order(source: Source) -> Order:
    if "axes" not in source:
        return PLAIN
    return Order(tuple(source["axes"]), tuple(source["flips"]))


def _is_in_place(volume: Volume, source: Source, shape: tuple[int, ...]) -> bool:
    """Whether the header that a volume was read with is still true of it."""
    if volume.provenance or source.get("format") not in HEADER_CLASSES:
        return False
    return bool(
        _without_idle(shape) == _without_idle(source["shape"])
        and source["samples"] == ("n" in volume.axes)
        and np.allclose(volume.affine, source["affine"], rtol=1e-6, atol=1e-6)
        and np.isclose(volume.frame_interval or 0, source["interval"] or 0)
    )


def _without_idle(shape: Sequence[int]) -> list[int]:
    padded = [*shape, 1, 1]
    return padded[:3] + [size for size in padded[3:] if size > 1]


def _requantised(
    array: Array, dtype: np.dtype[Any], scaling: Sequence[float] | None
) -> Array | None:
    """Return the stored numbers that decode to exactly these values; None where there are none."""
    if scaling is None:
        values, pair = array, None
    else:
        pair = (scaling[0], scaling[1])
        values = (array.astype(np.float64) - pair[1]) / pair[0]
    if dtype.kind in "iu" and values.dtype.kind == "f":
        limits = np.iinfo(dtype)
        values = np.nan_to_num(np.rint(values)).clip(limits.min, limits.max)
    with np.errstate(invalid="ignore", over="ignore"):
        stored = values.astype(dtype)
        same = np.array_equal(decode(stored, pair), array, equal_nan=array.dtype.kind == "f")
    return stored if same else None


def _storable(volume: Volume, array: Array) -> Array:
    """Return the array in a type that every NIfTI reader knows."""
    if volume.kind == "labels":
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        fitting = (t for t in (np.uint8, np.int16, np.int32) if _holds(t, low, high))
        return array.astype(next(fitting, np.int64))
    if volume.provenance or array.dtype == np.float16:
        return array.astype(np.float32)
    return array.astype(np.uint8) if array.dtype == bool else array


def _holds(dtype: type[np.integer[Any]], low: int, high: int) -> bool:
    return bool(np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max)


def _old_header(source: Source) -> bytes:
    """Return the header as it was; that of a pair is changed to that of a single file."""
    raw: bytes = source["header"]
    size = HEADER_SIZES[source["format"]]
    header = HEADER_CLASSES[source["format"]](raw[:size], check=False)
    if header["magic"].item()[:2] == b"n+":
        return raw
    header["magic"] = header.single_magic
    header["vox_offset"] = size + len(_EXTENSION_FLAG)
    return bytes(header.binaryblock) + _EXTENSION_FLAG


def _new_header(volume: Volume, array: Array, affine: Affine, source: Source) -> bytes:
    form = "nifti1" if max(array.shape) <= _LONGEST_NIFTI1 else "nifti2"
    header = HEADER_CLASSES[form]()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    qform_code, sform_code = source.get("codes", (0, 0))
    code = sform_code or qform_code or _ALIGNED
    _set_affine(header, affine, code)
    header.set_xyzt_units(
        "mm" if is_spacing_known(source) else "unknown",
        "sec" if volume.frame_interval else "unknown",
    )
    if volume.frame_interval:
        header["pixdim"][4] = volume.frame_interval
    header.set_slope_inter(1, 0)
    header["magic"] = header.single_magic
    header["vox_offset"] = HEADER_SIZES[form] + len(_EXTENSION_FLAG)
    if "n" in volume.axes:
        header["intent_name"] = SAMPLES
    if volume.kind == "labels":
        header["intent_code"] = LABEL_INTENT
    header["descrip"] = PROGRAM
    if volume.provenance:
        family = volume.provenance.get("family", "")
        header["descrip"] = f"{PROGRAM} {family} synthetic".encode()[:79]
    return bytes(header.binaryblock) + _EXTENSION_FLAG


def _set_affine(header: nib.Nifti1Header, affine: Affine, code: int) -> None:
    """Set both forms; the qform, a rotation, is left out where the affine is sheared."""
    header.set_qform(affine, code, strip_shears=True)
    header.set_sform(affine, code)
    if not np.allclose(header.get_qform(), affine, rtol=1e-4, atol=1e-3):
        header["qform_code"] = 0
