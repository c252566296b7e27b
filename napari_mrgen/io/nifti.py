"""NIfTI, Analyze and MGH files to Volume and back: the only place where axes are permuted."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.facts import (
    Extension,
    Grid,
    StoredFacts,
    extension_of,
    facts_in,
    foreign,
    read_extensions,
    write_extensions,
    write_sidecar,
)
from napari_mrgen.io.files import check_span, read_span, saving, write_pieces
from napari_mrgen.io.fourth_axis import other_than_time
from napari_mrgen.io.geometry import Affine, Order, choose_order
from napari_mrgen.io.headers import (
    HEADER_CLASSES,
    HEADER_SIZES,
    LABEL_INTENT,
    PROGRAM,
    SAMPLES,
    Header,
    read_header,
)
from napari_mrgen.io.naming import is_label, stem, suffix_of
from napari_mrgen.io.subjects import subject_of
from napari_mrgen.volume import Array, Source, StoredImage, Volume, VolumeInfo

Scaling = tuple[float, float] | None

_INTERVALS = (1e-3, 12.0)
"""Shortest and longest time between frames that is not doubted, in s."""
_ALIGNED = 2
_LONGEST_NIFTI1 = 32767
_DAMAGED = "What this program wrote into the header is damaged and was left out."


@dataclass(frozen=True)
class _Layout:
    """How the stored array becomes that of the volume."""

    axes: str
    shape: tuple[int, ...]
    """Of the stored array, as many axes as the volume has: ``(i, j, k, ...)``."""
    order: Order
    affine: Affine
    """From ``(z, y, x)`` to the scanner."""
    times: tuple[float, ...] | None
    facts: StoredFacts | None
    dtype: np.dtype[Any] | None = None
    """Of the volume, where the file holds its values in another type."""
    notes: tuple[str, ...] = ()


def info(path: Path) -> VolumeInfo:
    """Return axes, shape and geometry without reading the image."""
    header = read_header(Path(path))
    layout = _layout(Path(path), header)
    lead = layout.shape[:2:-1]
    shape = (*lead, *(layout.shape[axis] for axis in layout.order.axes))
    doubts = (*header.notes, *layout.notes, *_odd_interval(layout.times))
    return VolumeInfo(layout.axes, shape, layout.affine, layout.times, header.spacing_known, doubts)


def check(path: Path) -> None:
    """Raise `MrgenError` where a file's header or size says that its image is not whole."""
    header = read_header(path)
    _layout(path, header)
    check_span(header.image, header.offset + header.nbytes)


def _odd_interval(times: tuple[float, ...] | None) -> Iterator[str]:
    """Say so where frames are further apart than any series is, or closer: a wrong unit."""
    if times is not None and len(times) > 1:
        interval = (times[-1] - times[0]) / (len(times) - 1)
        if not _INTERVALS[0] <= interval <= _INTERVALS[1]:
            yield f"Frames are {interval:g} s apart by the header: check the unit of its times."


def read(path: Path) -> Volume:
    """Read an image with its geometry; integers stay integers unless the file scales them.

    Axes are permuted and flipped, towards (Inferior, Posterior, Left), and never resampled; an
    oblique image stays oblique. See `napari_mrgen.io.geometry.choose_order`. An image that this
    program wrote has the axes, times and facts that it was written with.

    Examples
    --------
    >>> import tempfile
    >>> cine = Volume(np.zeros((2, 1, 4, 4)), "tzyx", np.eye(4), times=(1.046, 1.1), subject="07")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(cine, Path(folder, "cine.nii.gz"))
    ...     again = read(Path(folder, "cine.nii.gz"))
    >>> again.axes, again.times, again.subject
    ('tzyx', (1.046, 1.1), '07')
    """
    path = Path(path)
    header = read_header(path)
    layout = _layout(path, header)
    stored = read_span(header.image, header.offset, header.nbytes).view(header.dtype)
    array = decode(stored.reshape(layout.shape, order="F"), header.scaling)
    array = np.ascontiguousarray(layout.order.apply(array))
    if layout.dtype is not None and np.array_equal(array.astype(layout.dtype), array):
        array = array.astype(layout.dtype)
    labels = as_labels(array) if header.labels or is_label(path) else None
    volume = Volume(
        array=array if labels is None else labels,
        axes=layout.axes,
        affine=layout.affine,
        kind="image" if labels is None else "labels",
        name=stem(path),
        subject=subject_of(path),
        times=layout.times,
        source=_source(path, header, layout),
    )
    facts = layout.facts
    if facts is None:
        return volume
    # The name is that of the file, and the header may know better when the frames are.
    own = {"name": volume.name, "times": layout.times, "subject": facts.subject or volume.subject}
    return facts.model_copy(update=own).apply(volume)


def write(volume: Volume, path: Path, *, sidecar: bool = True, overwrite: bool = False) -> None:
    """Write a volume as NIfTI, whole or not at all.

    What was only read is written back bit for bit. What NIfTI has no field for is in an extension
    of the header, which other programs skip. A generated volume is marked as synthetic, and its
    provenance stands beside it in a JSON file, the ``sidecar``, which takes the place of somebody
    else's with ``overwrite`` only; see `napari_mrgen.io.facts.write_sidecar`.
    """
    path = Path(path)
    if suffix_of(path) not in (".nii", ".nii.gz"):
        msg = f"{path.name} cannot be written; give a name that ends in .nii.gz or .nii."
        raise MrgenError(msg)
    header, stored = encode(volume)
    voxels = np.asfortranarray(stored).reshape(-1, order="F").view(np.uint8)
    with saving(path) as draft:
        pieces = (memoryview(header), voxels.data)
        write_pieces(draft, pieces, compress=suffix_of(path) == ".nii.gz")
    if sidecar:
        write_sidecar(path, volume.provenance, overwrite=overwrite)


def as_labels(array: Array) -> Array | None:
    """Return a label map as integers; None where the values are not whole numbers."""
    if array.dtype.kind in "iu":
        return array
    whole = array.astype(np.int32)
    return whole if np.array_equal(whole, array) else None


def _layout(path: Path, header: Header) -> _Layout:
    """Return how a file's array lies: by its facts where they agree with its header, else by that.

    Another program may have changed the image and left the facts as they were.
    """
    notes: tuple[str, ...] = ()
    try:
        facts = facts_in(header.extensions)
    except MrgenError:
        facts, notes = None, (_DAMAGED,)
    grid = facts.grid if facts else None
    if grid is not None:
        order = Order(grid.order, grid.flips)
        shape = order.stored_shape(grid.shape)
        affine = np.array(grid.affine, np.float64)
        expected = order.stored_affine(affine, shape)
        # Without a voxel size the header holds no affine either.
        is_same = not header.spacing_known or np.allclose(
            expected, header.affine, rtol=1e-5, atol=1e-3
        )
        if is_same and _without_idle(shape) == _without_idle(header.shape):
            times = _times(header, shape[3] if "t" in grid.axes else 1, facts)
            return _Layout(
                grid.axes, shape, order, affine, times, facts, np.dtype(grid.dtype), notes
            )
    if facts is not None:
        # Which frames and samples are left is not known.
        facts = facts.model_copy(update={"samples": None, "cases": (), "labelled_frames": ()})
    axes, shape, why = _axes(path, header)
    notes = (*notes, why) if why else notes
    order = choose_order(header.affine, shape[:3])
    times = _times(header, shape[3], facts) if "t" in axes else None
    affine = order.affine(header.affine, shape)
    return _Layout(axes, shape, order, affine, times, facts, None, notes)


def _axes(path: Path, header: Header) -> tuple[str, tuple[int, ...], str]:
    """Return the axes, the stored shape without idle ones, and why the fourth is not time."""
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
    why = "" if frames == 1 or header.samples else other_than_time(path, header, frames)
    if why:
        return "czyx", shape[:4], why
    axes = ("n" if header.samples else "") + ("t" if frames > 1 else "") + "zyx"
    counts = ((frames,) if "t" in axes else ()) + ((samples,) if "n" in axes else ())
    return axes, shape[:3] + counts, ""


def _times(header: Header, frames: int, facts: StoredFacts | None) -> tuple[float, ...] | None:
    """Return when frames are: as the header says, or more exactly by the facts."""
    even = None
    if header.interval is not None and frames > 1:
        even = tuple(header.start + header.interval * frame for frame in range(frames))
    exact = facts.times if facts else None
    if exact is None or len(exact) != frames:
        return even
    first, last = (even[0], even[-1]) if even else (header.start, header.start)
    return exact if np.allclose((exact[0], exact[-1]), (first, last), 1e-5, 1e-5) else even


def _source(path: Path, header: Header, layout: _Layout) -> Source:
    stored = StoredImage(
        header=header.raw,
        shape=header.shape,
        dtype=header.dtype.str,
        scaling=header.scaling,
        affine=tuple(map(tuple, layout.affine.tolist())),
        times=layout.times,
        samples=header.samples,
    )
    return Source(
        path=str(path),
        format=header.form,
        subject=layout.facts.subject if layout.facts else None,
        axes=layout.order.axes,
        flips=layout.order.flips,
        codes=header.codes,
        spacing_known=header.spacing_known,
        notes=(*header.notes, *layout.notes),
        stored=stored,
    )


def decode(stored: Array, scaling: Scaling) -> Array:
    """Return values from stored ones: in native byte order, and as floats where they are scaled."""
    if scaling is None:
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    slope, intercept = scaling
    # Values of 32 bits have more digits than a float of 32 bits holds once they are scaled.
    values: Array = stored.astype(np.float32 if stored.dtype.itemsize < 4 else np.float64)
    values *= values.dtype.type(slope)
    values += values.dtype.type(intercept)
    return values


def encode(volume: Volume) -> tuple[bytes, Array]:
    """Return all bytes before the first voxel, and the array to store, ``(i, j, k, ...)``.

    A volume that is as it was read gets the header and the numbers that it was read from. Any other
    gets a new header, and keeps its source's order of axes, sform code and the extensions of other
    programs.
    """
    source = volume.source or Source()
    if not volume.spacing_known and source.stored is None:
        # There is no affine: other programs guess that voxels run to the left, front and up.
        source = replace(source, axes=(2, 1, 0), flips=(True, True, False))
        volume = replace(volume, source=source)
    order = Order(source.axes, source.flips)
    array = order.undo(volume.array)
    facts = StoredFacts.of(volume)
    if source.stored is not None and _is_in_place(volume, source.stored, array.shape, facts):
        stored = _requantised(array, np.dtype(source.stored.dtype), source.stored.scaling)
        if stored is not None:
            return _old_header(source), stored.reshape(source.stored.shape, order="F")
    array = _storable(volume, array)
    extensions = [] if volume.provenance else foreign(_extensions(source))
    extensions.append(extension_of(facts.model_copy(update={"grid": _grid(volume, array.dtype)})))
    affine = order.stored_affine(volume.affine, array.shape)
    return _new_header(volume, array, affine, write_extensions(extensions)), array


def _grid(volume: Volume, stored: np.dtype[Any]) -> Grid:
    """Return how the file holds the array; its type too, where storing loses no value."""
    own = volume.array.dtype.newbyteorder("=")
    is_exact = volume.kind == "labels" or np.can_cast(own, stored)
    source = volume.source or Source()
    return Grid(
        axes=volume.axes,
        shape=volume.array.shape,
        dtype=(own if is_exact else stored).str,
        affine=volume.affine.tolist(),
        order=source.axes,
        flips=source.flips,
    )


def _extensions(source: Source) -> tuple[Extension, ...]:
    """Return the extensions of the header that a volume was read with."""
    if source.stored is None or source.format not in HEADER_CLASSES:
        return ()
    raw, size = source.stored.header, HEADER_SIZES[source.format]
    header = HEADER_CLASSES[source.format](raw[:size], check=False)
    return tuple(read_extensions(raw, size, header.endianness))


def _is_in_place(
    volume: Volume, stored: StoredImage, shape: tuple[int, ...], facts: StoredFacts
) -> bool:
    """Whether the header that a volume was read with is still true of it.

    What was read beside the file, such as a table of participants, it need not hold; but what it
    holds must be so.
    """
    source = volume.source or Source()
    if source.format not in HEADER_CLASSES or not (
        _without_idle(shape) == _without_idle(stored.shape)
        and stored.samples == ("n" in volume.axes)
        and np.allclose(volume.affine, stored.affine, rtol=1e-6, atol=1e-6)
        and len(volume.times or ()) == len(stored.times or ())
        and np.allclose(volume.times or (), stored.times or ())
    ):
        return False
    try:
        old = facts_in(_extensions(source))
    except MrgenError:
        old = None
    if old is None:
        return not (volume.provenance or volume.samples or volume.cases)
    ignored = {"name", "times", "grid"}
    return facts.model_dump(exclude=ignored) == old.model_dump(exclude=ignored)


def _without_idle(shape: Sequence[int]) -> list[int]:
    padded = [*shape, 1, 1]
    return padded[:3] + [size for size in padded[3:] if size > 1]


def _requantised(array: Array, dtype: np.dtype[Any], scaling: Scaling) -> Array | None:
    """Return the stored numbers that decode to exactly these values; None where there are none."""
    values = array
    if scaling is not None:
        slope, intercept = scaling
        values = (array.astype(np.float64) - intercept) / slope
    if dtype.kind in "iu" and values.dtype.kind == "f":
        limits = np.iinfo(dtype)
        values = np.nan_to_num(np.rint(values)).clip(limits.min, limits.max)
    with np.errstate(invalid="ignore", over="ignore"):
        stored = values.astype(dtype)
        same = np.array_equal(decode(stored, scaling), array, equal_nan=array.dtype.kind == "f")
    return stored if same else None


def _storable(volume: Volume, array: Array) -> Array:
    """Return the array in a type that every NIfTI reader knows."""
    is_labels = volume.kind == "labels"
    if not is_labels and (volume.provenance or array.dtype == np.float16):
        return array.astype(np.float32)
    if array.dtype.kind in "iu" and (is_labels or array.dtype.itemsize == 8):
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        types = (np.uint8, np.int16, np.int32) if is_labels else (np.int16, np.int32)
        fitting = next((t for t in types if _holds(t, low, high)), np.float64)
        if fitting is np.float64 and not _is_exact(max(-low, high), array):
            warnings.warn(
                f"{volume.name!r} has whole numbers that no type holds which other programs read: "
                "they are rounded to 15 digits.",
                stacklevel=4,
            )
        return array.astype(fitting)
    if array.dtype == bool:
        return array.astype(np.uint8)
    return array.astype(np.float64) if array.dtype.itemsize > 8 else array


def _is_exact(largest: int, array: Array) -> bool:
    """Whether integers up to the largest one are the same as floats of 64 bit."""
    return largest <= 1 << 53 or np.array_equal(
        array.astype(np.float64).astype(object), array.astype(object)
    )


def _holds(dtype: type[np.integer[Any]], low: int, high: int) -> bool:
    return bool(np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max)


def _old_header(source: Source) -> bytes:
    """Return the header as it was; that of a pair is changed to that of a single file."""
    raw = source.stored.header if source.stored else b""
    header = HEADER_CLASSES[source.format](raw[: HEADER_SIZES[source.format]], check=False)
    return raw if header["magic"].item()[:2] == b"n+" else _single(header, write_extensions(()))


def _single(header: nib.Nifti1Header, extensions: bytes) -> bytes:
    """Return the bytes of a header that stands in one file with its image."""
    header["magic"] = header.single_magic
    header["vox_offset"] = header.sizeof_hdr + len(extensions)
    return bytes(header.binaryblock) + extensions


def _new_header(volume: Volume, array: Array, affine: Affine, extensions: bytes) -> bytes:
    form = "nifti1" if max(array.shape) <= _LONGEST_NIFTI1 else "nifti2"
    header = HEADER_CLASSES[form]()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    qform_code, sform_code = volume.source.codes if volume.source else (0, 0)
    code = sform_code or qform_code or (_ALIGNED if volume.spacing_known else 0)
    _set_affine(header, affine, code)
    header.set_xyzt_units(
        "mm" if volume.spacing_known else "unknown", "sec" if volume.times else "unknown"
    )
    if volume.times:
        header["pixdim"][4] = volume.frame_interval or 0
        header["toffset"] = volume.times[0]
    header.set_slope_inter(1, 0)
    if "n" in volume.axes:
        header["intent_name"] = SAMPLES
    if volume.kind == "labels":
        header["intent_code"] = LABEL_INTENT
    header["descrip"] = PROGRAM
    if volume.provenance:
        family = volume.provenance.get("family", "")
        header["descrip"] = f"{PROGRAM} {family} synthetic".encode()[:79]
    return _single(header, extensions)


def _set_affine(header: nib.Nifti1Header, affine: Affine, code: int) -> None:
    """Set both forms; the qform, a rotation, is left out where the affine is sheared."""
    header.set_qform(affine, code, strip_shears=True)
    header.set_sform(affine, code)
    if not np.allclose(header.get_qform(), affine, rtol=1e-4, atol=1e-3):
        header["qform_code"] = 0
