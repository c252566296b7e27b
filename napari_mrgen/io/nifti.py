"""NIfTI, Analyze and MGH files to Volume and back: the only place where axes are permuted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.encoding import decode, encode
from napari_mrgen.io.files import read_span, saving, write_gzip, write_plain
from napari_mrgen.io.geometry import Affine, Order, choose_order
from napari_mrgen.io.header import Header, read_header
from napari_mrgen.io.naming import is_label_name, stem, subject_of, suffix_of
from napari_mrgen.volume import Array, Volume

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
