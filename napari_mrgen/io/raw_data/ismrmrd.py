"""k-space in HDF5: the raw data format of the ISMRM, and that of fastMRI, which has its header.

ISMRMRD has one record for each readout (Inati et al., Magn Reson Med 77:411, 2017). fastMRI has a
dataset ``kspace`` with the axes slices, coils (not where there is one), readout and phase encoding
(Zbontar et al., arXiv:1811.08839).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.geometry import Affine
from napari_mrgen.io.raw_data.hdf5 import (
    check_memory,
    child,
    damage_said,
    opened_hdf5,
    read_dataset,
)
from napari_mrgen.io.subjects import plain_subject
from napari_mrgen.kspace import KSpace, Samples
from napari_mrgen.volume import Array, Source, upright_affine

_GROUP = "dataset"
"""The usual name of the group; the ISMRMRD library takes any."""
_MOST_GROUPS = 100
_MOST_EMPTY = 256
"""Largest ratio of a grid to what was measured: there is a line of each frame at least."""
_NOT_IMAGING = sum(1 << (flag - 1) for flag in (19, 20, 23, 24, 26, 27, 28, 29))
"""Flags of noise, calibration, navigators, phase correction, feedback and dummy scans."""
_REVERSED = 1 << 21
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
_NOTE = "Orientation and position are those that the ISMRMRD file gives for its readouts."
_FASTMRI_NOTE = "fastMRI files hold no orientation: left and right are not known."
_NO_SIZE = "The file has no header: lengths are in voxels."
_NO_DIRECTIONS = "The ISMRMRD file gives no directions: left and right are not known."


class Space(NamedTuple):
    """A grid and the field of view that it covers, both along ``z, y, x``."""

    matrix: tuple[int, int, int]
    extent: tuple[float, float, float]
    """In mm."""

    @property
    def pixel(self) -> tuple[float, float, float]:
        """Voxel size in mm."""
        z, y, x = (mm / count for mm, count in zip(self.extent, self.matrix, strict=True))
        return z, y, x


@dataclass(frozen=True)
class Header:
    """What the first encoding of a header says.

    Attributes
    ----------
    encoded, image
        What was measured, often twice as wide along the readout as the image.
    centre
        Steps along z and y that go through the centre of k-space.
    trajectory
        "cartesian", "radial", "spiral", ...
    """

    encoded: Space
    image: Space
    centre: tuple[int, int]
    trajectory: str

    @property
    def middle(self) -> Space:
        """The pixels of the measured grid that lie in the image's field of view."""
        pixel = self.encoded.pixel
        counts = [
            max(1, min(round(mm / size), most))
            for mm, size, most in zip(self.image.extent, pixel, self.encoded.matrix, strict=True)
        ]
        z, y, x = counts
        return Space((z, y, x), (z * pixel[0], y * pixel[1], x * pixel[2]))


def hdf5_kind(path: Path) -> str:
    """Return which k-space an HDF5 file holds, ``fastmri`` or ``ismrmrd``; '' for others."""
    import h5py

    if not h5py.is_hdf5(path):
        return ""
    with opened_hdf5(path) as file:
        if isinstance(child(file, "kspace"), h5py.Dataset):
            return "fastmri"
        return "ismrmrd" if _group_of(file) else ""


def _group_of(file: Any) -> str:
    """Return the name of the group that holds a header and readouts; '' where none does."""
    names = [_GROUP, *(name for name in list(file)[:_MOST_GROUPS] if name != _GROUP)]
    return next(
        (
            name
            for name in names
            if child(file, f"{name}/xml") is not None and child(file, f"{name}/data") is not None
        ),
        "",
    )


def read_ismrmrd(path: Path) -> KSpace:
    """Read the first contrast; frames are heart phases within repetitions.

    On a grid, readouts of one line are averaged. Along a trajectory, a frame is all readouts of
    one repetition and phase; frames that have fewer than most, such as the last, are left out.
    """
    with opened_hdf5(path) as file:
        group = child(file, _group_of(file))
        header = _read_header(path, read_dataset(group["xml"])[0])
        records = read_dataset(group["data"])
    with damage_said(path):
        return _to_kspace(path, header, records)


def _to_kspace(path: Path, header: Header, records: Array) -> KSpace:
    heads, index = records["head"], records["head"]["idx"]
    taken = (heads["flags"] & np.uint64(_NOT_IMAGING)) == 0
    taken &= (index["contrast"] == 0) & (index["set"] == 0)
    # Further encodings are other scans, such as a reference for the coils.
    taken &= heads["encoding_space_ref"] == 0
    if not taken.any():
        raise MrgenError(f"{path.name} holds no readouts of an image.")
    records = records[taken]
    grid = header.trajectory == "cartesian"
    samples, trajectory = (
        (_on_grid(path, header, records), None) if grid else _on_spokes(path, header, records)
    )
    image = header.middle if grid else header.image
    affine, note = _place(image, records["head"], samples.shape[1])
    return KSpace(
        samples=samples,
        shape=image.matrix[1:],
        affine=affine,
        trajectory=trajectory,
        name=path.stem,
        subject=plain_subject(path),
        source=Source(str(path), "ismrmrd", notes=(note,)),
    )


def read_fastmri(path: Path) -> KSpace:
    """Read the slices; the image is the part of the readout that the header asks for."""
    with opened_hdf5(path) as file:
        stored = read_dataset(child(file, "kspace"))
        header = child(file, "ismrmrd_header")
        text = None if header is None else read_dataset(header)
        subject = file.attrs.get("patient_id")
    with damage_said(path):
        return _from_fastmri(path, stored, text, subject)


def _from_fastmri(path: Path, stored: Array, text: Any, subject: Any) -> KSpace:
    if stored.dtype.kind != "c" or stored.ndim not in (3, 4) or not stored.size:
        msg = (
            f"{path.name} holds {stored.dtype} {stored.shape} as kspace; expected complex, "
            "(slices, coils, readout, phase) or without coils."
        )
        raise MrgenError(msg)
    coils = stored if stored.ndim == 4 else stored[:, None]
    shape, spacing = coils.shape[-2:], (1.0, 1.0, 1.0)
    if text is not None:
        # Rows are along the readout, which is x of the header.
        header = _read_header(path, text)
        z, y, x = header.image.pixel
        spacing = (z, x, y)
        _, height, width = header.image.matrix
        shape = (min(shape[0], width), min(shape[1], height))
    return KSpace(
        samples=np.ascontiguousarray(coils[None], np.complex64),
        shape=shape,
        affine=upright_affine(spacing),
        name=path.stem,
        subject=subject if isinstance(subject, str) and subject else plain_subject(path),
        source=Source(
            str(path),
            "fastmri",
            spacing_known=text is not None,
            notes=(_FASTMRI_NOTE,) if text is not None else (_FASTMRI_NOTE, _NO_SIZE),
        ),
    )


def _frames(index: Array) -> Array:
    """Return the frame of each readout: heart phases within repetitions, those that there are."""
    phases = int(index["phase"].max()) + 1
    counters = index["repetition"].astype(int) * phases + index["phase"]
    return np.unique(counters, return_inverse=True)[1].reshape(-1)


def _readout(record: Array) -> Samples:
    """Return the samples of one readout ``(c, k)``, those to be discarded as zero."""
    head = record["head"]
    count = int(head["number_of_samples"])
    values = record["data"].view(np.complex64).reshape(int(head["active_channels"]), count).copy()
    values[:, : int(head["discard_pre"])] = 0
    values[:, count - int(head["discard_post"]) :] = 0
    return values[:, ::-1] if int(head["flags"]) & _REVERSED else values


def _on_grid(path: Path, header: Header, records: Array) -> Samples:
    """Return ``(t, z, c, y, x)``: each readout in its line, the mean where a line has several."""
    index = records["head"]["idx"]
    depth, height, width = header.encoded.matrix
    frames = _frames(index)
    lines = index["kspace_encode_step_1"].astype(int) - header.centre[1] + height // 2
    layers = index["slice"].astype(int)
    if depth > 1:
        layers = index["kspace_encode_step_2"].astype(int) - header.centre[0] + depth // 2
    else:
        layers = np.unique(layers, return_inverse=True)[1].reshape(-1)
    slices = depth if depth > 1 else int(layers.max()) + 1
    if min(lines.min(), layers.min()) < 0 or lines.max() >= height or layers.max() >= slices:
        raise MrgenError(f"{path.name} has lines outside the {depth} x {height} of its header.")
    coils = int(records["head"]["active_channels"].max())
    shape = (int(frames.max()) + 1, slices, coils, height, width)
    measured = sum(record.size for record in records["data"])
    if math.prod(shape) > _MOST_EMPTY * max(measured, 1):
        msg = f"{path.name} is damaged: the {height} x {width} of its header is almost empty."
        raise MrgenError(msg)
    check_memory(path.name, math.prod(shape) * 8)
    samples = np.zeros(shape, np.complex64)
    counts = np.zeros((*samples.shape[:2], height), int)
    for record, place in zip(records, zip(frames, layers, lines, strict=True), strict=True):
        frame, layer, line = place
        values = _readout(record)
        first = width // 2 - int(record["head"]["center_sample"])
        if first < 0 or first + values.shape[1] > width or len(values) != coils:
            raise MrgenError(f"{path.name} has readouts that do not fit the {width} samples.")
        samples[frame, layer, :, line, first : first + values.shape[1]] += values
        counts[frame, layer, line] += 1
    samples /= np.maximum(counts, 1)[:, :, None, :, None].astype(np.float32)
    if depth == 1:
        return samples
    shifted = np.fft.ifft(np.fft.ifftshift(samples, 1), axis=1, norm="ortho")
    count = header.middle.matrix[0]
    first = slices // 2 - count // 2
    return np.ascontiguousarray(np.fft.fftshift(shifted, 1)[:, first : first + count])


def _on_spokes(path: Path, header: Header, records: Array) -> tuple[Samples, Array]:
    """Return samples ``(t, z, c, k)`` and places ``(t, k, 2)``."""
    heads = records["head"]
    if header.encoded.matrix[0] > 1 or not heads["trajectory_dimensions"].min() >= 2:
        msg = f"{path.name} is {header.trajectory}, and has no 2-D trajectory with its readouts."
        raise MrgenError(msg)
    frames, layers = _frames(heads["idx"]), heads["idx"]["slice"].astype(int)
    groups = [
        [np.flatnonzero((frames == frame) & (layers == layer)) for layer in np.unique(layers)]
        for frame in np.unique(frames)
    ]
    counts = [len(group) for row in groups for group in row]
    usual = max(set(counts), key=lambda count: (counts.count(count), count))
    whole = [row for row in groups if all(len(group) == usual for group in row)]
    if not whole or usual == 0 or len(np.unique(heads["number_of_samples"])) > 1:
        raise MrgenError(f"{path.name} has frames or slices of different numbers of samples.")
    samples = np.array(
        [[np.concatenate([_readout(records[i]) for i in g], 1) for g in row] for row in whole]
    )
    every = np.array(
        [[np.concatenate([_places(records[i]) for i in g]) for g in row] for row in whole]
    )
    places = every[:, 0]
    if np.abs(every - places[:, None]).max() > 1e-3 * np.abs(places).max():
        raise MrgenError(f"{path.name} has other places for each slice; split the slices.")
    return samples, _radians(header, places)


def _places(record: Array) -> Array:
    """Return the places of one readout's samples ``(k, 2)``, y then x, as stored."""
    places = record["traj"].reshape(-1, int(record["head"]["trajectory_dimensions"]))[:, 1::-1]
    return places[::-1] if int(record["head"]["flags"]) & _REVERSED else places


def _radians(header: Header, places: Array) -> Array:
    """Return places in radians a pixel of the image.

    They are stored as shares of the encoded grid, -0.5 to 0.5, or as its steps: what is larger.
    """
    _, height, width = header.encoded.matrix
    if np.abs(places).max() > 1:
        places = places / (height, width)
    finer = np.array(header.image.pixel[1:]) / np.array(header.encoded.pixel[1:])
    return np.ascontiguousarray(places * (2 * np.pi * finer), np.float32)


def _place(image: Space, heads: Array, slices: int) -> tuple[Affine, str]:
    """Return the affine of the image, by what the readouts say of their slices."""
    first = [heads[heads["idx"]["slice"] == number][:1] for number in range(slices)]
    head = heads[0]
    directions = np.stack([head["slice_dir"], head["phase_dir"], head["read_dir"]], 1)
    directions = directions.astype(np.float64)
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-2):
        return upright_affine(image.pixel), _NO_DIRECTIONS
    columns = directions * image.pixel
    centre, middle = head["position"].astype(np.float64), slices // 2.0
    if slices > 1 and all(len(one) for one in first):
        last = first[-1]["position"][0].astype(np.float64)
        start = first[0]["position"][0].astype(np.float64)
        if np.linalg.norm(last - start) > 0:
            columns[:, 0] = (last - start) / (slices - 1)
        centre, middle = (start + last) / 2, (slices - 1) / 2
    _, height, width = image.matrix
    # The centre of what was encoded lies in the pixel at size // 2, that of slices in their middle.
    pixel = np.array([middle, height // 2, width // 2])
    affine = np.eye(4)
    affine[:3, :3] = _LPS_TO_RAS[:, None] * columns
    affine[:3, 3] = _LPS_TO_RAS * centre - affine[:3, :3] @ pixel
    return affine, _NOTE


def _read_header(path: Path, text: bytes | str) -> Header:
    """Read the header of a file, whose path is for the errors."""
    centre = "encodingLimits/kspace_encoding_step_{}/center"
    try:
        encoding = ElementTree.fromstring(text).find("{*}encoding")
        if encoding is None:
            raise ValueError("it has no encoding")
        encoded = _space(encoding, "encodedSpace")
        z, y, _ = encoded.matrix
        return Header(
            encoded=encoded,
            image=_space(encoding, "reconSpace"),
            centre=(
                int(_text(encoding, centre.format(2), str(z // 2))),
                int(_text(encoding, centre.format(1), str(y // 2))),
            ),
            trajectory=_text(encoding, "trajectory", "cartesian").lower(),
        )
    except (ElementTree.ParseError, ValueError, TypeError, OverflowError) as error:
        raise MrgenError(f"{path.name} has an unusable ISMRMRD header: {error}.") from error


def _space(encoding: ElementTree.Element, name: str) -> Space:
    z, y, x = (int(_text(encoding, f"{name}/matrixSize/{axis}")) for axis in "zyx")
    depth, height, width = (
        float(_text(encoding, f"{name}/fieldOfView_mm/{axis}")) for axis in "zyx"
    )
    if min(z, y, x) < 1 or not min(depth, height, width) > 0:
        raise ValueError(f"its {name} has no size")
    return Space((z, y, x), (depth, height, width))


def _text(encoding: ElementTree.Element, name: str, default: str | None = None) -> str:
    """Return the text of an element below, by its names without their namespaces."""
    text = encoding.findtext("/".join(f"{{*}}{part}" for part in name.split("/")), default)
    if not text:
        raise ValueError(f"it has no {name}")
    return text.strip()
