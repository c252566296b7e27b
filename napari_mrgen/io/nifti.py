"""NIfTI, Analyze and MGH files to Volume and back: the only place where axes are permuted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.files import read_span, saving, write_gzip, write_plain
from napari_mrgen.io.geometry import PLAIN, Affine, Order, choose_order
from napari_mrgen.io.headers import (
    HEADER_CLASSES,
    HEADER_SIZES,
    LABEL_INTENT,
    PROGRAM,
    SAMPLES,
    Header,
    read_header,
)
from napari_mrgen.io.naming import is_label_name, stem, subject_of, suffix_of
from napari_mrgen.volume import Array, Volume

Source = Mapping[str, Any]
Scaling = tuple[float, float] | None

_ALIGNED = 2
_LONGEST_NIFTI1 = 32767
_EXTENSION_FLAG = bytes(4)
NOTICE = "Made by a generative model: not a measurement, not for diagnosis."


@dataclass(frozen=True)
class Peek:
    """What the header alone tells of the Volume that `read` would return."""

    axes: str
    shape: tuple[int, ...]
    affine: Affine
    times: tuple[float, ...] | None

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along ``z, y, x`` in mm."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)


def peek(path: Path) -> Peek:
    """Tell axes, shape and geometry without reading the image."""
    header = read_header(Path(path))
    axes, kept = _axes(path, header)
    order = choose_order(header.affine, kept[:3])
    return Peek(
        axes=axes,
        shape=(*reversed(kept[3:]), *(kept[axis] for axis in order.axes)),
        affine=order.affine(header.affine, kept),
        times=_times(header.interval, kept[3] if "t" in axes else 0),
    )


def read(path: Path) -> Volume:
    """Read an image with its geometry; integers stay integers unless the file scales them.

    Axes are permuted and flipped, towards (Inferior, Posterior, Left), and never resampled; an
    oblique image stays oblique. See `napari_mrgen.io.geometry.choose_order`.
    """
    path = Path(path)
    header = read_header(path)
    axes, kept = _axes(path, header)
    order = choose_order(header.affine, kept[:3])
    stored = read_span(header.image, header.offset, header.nbytes).view(header.dtype)
    array = decode(stored.reshape(kept, order="F"), header.scaling)
    array = np.ascontiguousarray(order.apply(array))
    labels = as_labels(array) if header.labels or is_label_name(path) else None
    affine = order.affine(header.affine, kept)
    frames = kept[3] if "t" in axes else 0
    return Volume(
        array=array if labels is None else labels,
        axes=axes,
        affine=affine,
        kind="image" if labels is None else "labels",
        name=stem(path),
        subject=subject_of(path),
        times=_times(header.interval, frames),
        source=_source(path, header, order, affine, frames),
    )


def write(volume: Volume, path: Path, *, sidecar: bool = True) -> None:
    """Write a volume as NIfTI, whole or not at all.

    What was only read is written back bit for bit. A generated volume is marked as synthetic, and
    its provenance stands beside it in a JSON file, the ``sidecar``.
    """
    path = Path(path)
    if suffix_of(path) not in (".nii", ".nii.gz"):
        msg = f"{path.name} cannot be written; give a name that ends in .nii.gz or .nii."
        raise MrgenError(msg)
    header, stored = encode(volume)
    voxels = np.asfortranarray(stored).reshape(-1, order="F").view(np.uint8)
    with saving(path) as draft:
        save = write_gzip if suffix_of(path) == ".nii.gz" else write_plain
        save(draft, (memoryview(header), voxels.data))
    if volume.provenance and sidecar:
        record = {"synthetic": True, "notice": NOTICE, **volume.provenance}
        with saving(path.with_name(f"{stem(path)}.json")) as draft:
            draft.write_text(json.dumps(record, indent=2, default=str) + "\n", "utf-8")


def as_labels(array: Array) -> Array | None:
    """Return a label map as integers; None where the values are not whole numbers."""
    if array.dtype.kind in "iu":
        return array
    whole = array.astype(np.int32)
    return whole if np.array_equal(whole, array) else None


def _axes(path: Path, header: Header) -> tuple[str, tuple[int, ...]]:
    """Return the volume's axes, and the stored shape with three axes and no idle ones after."""
    shape = header.shape + (1,) * (5 - len(header.shape))
    frames, samples = shape[3:5]
    if header.samples and len(header.shape) == 4:
        frames, samples = 1, frames
    if max(shape[5:], default=1) > 1 or (samples > 1 and not header.samples):
        size = " x ".join(str(n) for n in header.shape)
        msg = (
            f"{path.name} has {len(header.shape)} dimensions ({size}): several values a voxel; "
            "save each as a file of its own, of up to 4 dimensions."
        )
        raise MrgenError(msg)
    axes = ("n" if header.samples else "") + ("t" if frames > 1 else "") + "zyx"
    kept = shape[:3] + ((frames,) if "t" in axes else ()) + ((samples,) if "n" in axes else ())
    return axes, kept


def _times(interval: float | None, frames: int) -> tuple[float, ...] | None:
    if interval is None or frames == 0:
        return None
    return tuple(interval * frame for frame in range(frames))


def _source(path: Path, header: Header, order: Order, affine: Array, frames: int) -> dict[str, Any]:
    """Return plain data, from which an untouched volume is written back bit for bit."""
    return {
        "path": str(path),
        "format": header.form,
        "header": header.raw,
        "shape": list(header.shape),
        "dtype": header.dtype.str,
        "scaling": None if header.scaling is None else list(header.scaling),
        "axes": list(order.axes),
        "flips": list(order.flips),
        "affine": affine.tolist(),
        "interval": header.interval if frames else None,
        "samples": header.samples,
        "codes": list(header.codes),
        "spacing_known": header.spacing_known,
        "notes": list(header.notes),
    }


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
