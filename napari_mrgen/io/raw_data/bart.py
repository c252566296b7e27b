"""k-space of BART: ``NAME.cfl`` with the values, ``NAME.hdr`` with their dimensions.

BART's dimensions are 0 readout, 1 and 2 phase encoding, 3 coils, 10 frames and 13 slices, first
fastest. Samples along a trajectory have (1, samples, spokes), and their places are in
``NAME_traj.cfl``: (3, samples, spokes), in waves over the field of view.
"""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.files import read_head, read_span
from napari_mrgen.io.subjects import plain_subject
from napari_mrgen.kspace import KSpace
from napari_mrgen.volume import Array, Source, upright_affine

_KEPT = {10: "t", 13: "slices", 3: "c", 2: "z", 1: "y", 0: "x"}
"""BART's dimensions that are read, in the order in which they are wanted."""
_DIMENSIONS = 16
_TITLE = b"# Dimensions"
_MOST_REACH = 2048
"""Of a trajectory, in waves over the field of view: half of the largest image."""
_LONGEST_HEADER = 1 << 16
_NOTE = (
    "BART files hold neither voxel size nor orientation: lengths are in voxels, "
    "left and right are not known."
)


def is_bart(path: Path) -> bool:
    """Whether a ``.cfl`` or ``.hdr`` file is one of a pair of BART."""
    header, values = path.with_suffix(".hdr"), path.with_suffix(".cfl")
    if not (header.is_file() and values.is_file()):
        return False
    return read_head(header, len(_TITLE)) == _TITLE


def read_bart(path: Path) -> KSpace:
    """Read one of a pair as k-space; an image stored by BART looks the same."""
    samples = _read_array(path)
    trajectory = None
    shape = samples.shape[-2:]
    if samples.shape[-1] == 1 < samples.shape[-2]:
        trajectory, shape = _read_trajectory(path, samples)
        # A coil's samples: those of a spoke side by side, spoke after spoke.
        samples = samples.reshape(*samples.shape[:3], -1)
    else:
        samples = _as_slices(path, samples)
    return KSpace(
        samples=np.ascontiguousarray(samples, np.complex64),
        shape=(shape[0], shape[1]),
        affine=upright_affine(),
        trajectory=trajectory,
        name=path.stem,
        subject=plain_subject(path),
        source=Source(str(path), "bart", spacing_known=False, notes=(_NOTE,)),
    )


def _as_slices(path: Path, samples: Array) -> Array:
    """Return ``(t, z, c, y, x)`` of ``(t, slices, c, z, y, x)``: z, where encoded, transformed."""
    if samples.shape[3] == 1:
        return samples[:, :, :, 0]
    if samples.shape[1] > 1:
        raise MrgenError(f"{path.name} has slices and a third encoded direction; split it.")
    shifted = np.fft.ifft(np.fft.ifftshift(samples[:, 0], 2), axis=2, norm="ortho")
    return np.fft.fftshift(shifted, 2).swapaxes(1, 2)


def _read_trajectory(path: Path, samples: Array) -> tuple[Array, tuple[int, int]]:
    """Return the places of samples ``(t, slices, c, spokes, samples, 1)``, and the image's size."""
    beside = path.with_name(f"{path.stem}_traj.cfl")
    if not is_bart(beside):
        msg = (
            f"{path.name} holds samples along a trajectory; put their places beside it as "
            f"{beside.name} with its .hdr."
        )
        raise MrgenError(msg)
    stored = _read_array(beside)[:, :, 0].real
    places = stored[:, 0]
    if np.abs(stored - places[:, None]).max() > 1e-3:
        raise MrgenError(f"{beside.name} has other places for each slice; split the slices.")
    frames, spokes, read = samples.shape[0], *samples.shape[3:5]
    if places.shape[1:] != (spokes, read, 3) or len(places) not in (1, frames):
        msg = (
            f"{beside.name} has places for {places.shape[1]} x {places.shape[2]} samples, "
            f"{path.name} {spokes} x {read}."
        )
        raise MrgenError(msg)
    places = np.broadcast_to(places.reshape(len(places), -1, 3), (frames, spokes * read, 3))
    if np.abs(places[..., 2]).max() > 1e-3:
        raise MrgenError(f"{beside.name} leaves the plane; only 2-D trajectories are read.")
    # Samples reach to the rim of the circle, give or take what single precision does.
    reach = float(np.linalg.norm(places[..., :2], axis=-1).max())
    if not 0 < reach <= _MOST_REACH:
        msg = f"{beside.name} reaches to {reach:g} waves over the field of view; check its unit."
        raise MrgenError(msg)
    size = 2 * max(1, int(np.ceil(reach - 1e-3)))
    radians = places[..., 1::-1] * (2 * np.pi / size)
    return np.ascontiguousarray(radians, np.float32), (size, size)


def _read_array(path: Path) -> Array:
    """Return the values ``(t, slices, c, z, y, x)``; refuse what has other dimensions."""
    header, values = path.with_suffix(".hdr"), path.with_suffix(".cfl")
    lines = read_head(header, _LONGEST_HEADER).decode("ascii", "replace").splitlines()
    try:
        sizes = [int(word) for word in lines[1].split()]
    except (IndexError, ValueError):
        sizes = []
    if not sizes or min(sizes) < 1 or len(sizes) > _DIMENSIONS:
        raise MrgenError(f"{header.name} gives no dimensions; write the file with BART again.")
    sizes += [1] * (_DIMENSIONS - len(sizes))
    if others := [d for d, size in enumerate(sizes) if size > 1 and d not in _KEPT]:
        msg = (
            f"{values.name} has BART's dimension {others[0]}, of size {sizes[others[0]]}; only "
            "0 to 3 (readout, encoding, coils), 10 (frames) and 13 (slices) are read."
        )
        raise MrgenError(msg)
    span = read_span(values, 0, prod(sizes) * 8).view("<c8")
    dimensions = sorted(_KEPT)
    array = span.reshape([sizes[dimension] for dimension in dimensions], order="F")
    return array.transpose([dimensions.index(dimension) for dimension in _KEPT])
