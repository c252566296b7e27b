"""Files of k-space: which they are, what is in them, and the image that comes out.

ISMRMRD and fastMRI (HDF5), BART (``.cfl`` with its ``.hdr``), and NumPy (``.npy``): complex, with
axes ``y x``, ``c y x``, ``t c y x`` or ``t z c y x``.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
from pathlib import Path

import numpy as np

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.raw_data import bart, ismrmrd
from napari_mrgen.io.raw_data.hdf5 import check_memory, damage_said
from napari_mrgen.io.subjects import plain_subject
from napari_mrgen.kspace import KSpace, Samples
from napari_mrgen.volume import Array, Source, Volume, upright_affine

SUFFIXES = (".h5", ".hdf5", ".mrd", ".npy", ".cfl")

_AXES = {2: "yx", 3: "cyx", 4: "tcyx", 5: "tzcyx"}
_TOLERANCE = 1e-4
"""Accuracy of the gridding, whose image is a first view."""
_NOTE = (
    "NumPy files hold neither voxel size nor orientation: lengths are in voxels, "
    "left and right are not known."
)


def is_kspace(path: Path) -> bool:
    """Whether a file holds k-space that `read_kspace` reads; quick, from its header alone."""
    suffix = path.suffix.lower()
    if suffix in (".cfl", ".hdr"):
        return bart.is_bart(path)
    if suffix == ".npy":
        return _is_array(path)
    try:
        return suffix in SUFFIXES and bool(ismrmrd.hdf5_kind(path))
    except MrgenError:
        return True  # Reading it says what is wrong.


def read_kspace(path: Path) -> KSpace:
    """Read k-space as complex64, whatever its file."""
    path = Path(path)
    if path.suffix.lower() in (".cfl", ".hdr"):
        return bart.read_bart(path)
    if path.suffix.lower() == ".npy":
        return _read_array(path)
    kind = ismrmrd.hdf5_kind(path)
    if kind:
        return ismrmrd.read_fastmri(path) if kind == "fastmri" else ismrmrd.read_ismrmrd(path)
    msg = (
        f"{path.name} holds no k-space in a known format; expected ISMRMRD or fastMRI (HDF5), "
        "BART (.cfl with .hdr) or a complex .npy."
    )
    raise MrgenError(msg)


def read_image(path: Path) -> Volume:
    """Read k-space, and return its image."""
    kspace = read_kspace(path)
    with damage_said(path):
        return to_image(kspace)


def to_image(kspace: KSpace) -> Volume:
    """Return the root of the sum of squares over coils: float32, axes ``zyx`` or ``tzyx``.

    What was not measured counts as zero. Along a trajectory samples weigh as much as they are away
    from the centre, which is right for radial ones; the scale is arbitrary.
    """
    shape = (kspace.frames, kspace.slices, *kspace.shape)
    check_memory(kspace.name, math.prod(shape) * 4)
    array = np.empty(shape, np.float32)
    for frame in range(kspace.frames):
        for place in range(kspace.slices):
            with np.errstate(over="ignore", invalid="ignore"):
                array[frame, place] = np.linalg.norm(_coil_images(kspace, frame, place), axis=0)
    is_cine = kspace.frames > 1
    return Volume(
        array=array if is_cine else array[0],
        axes="tzyx" if is_cine else "zyx",
        affine=kspace.affine,
        name=kspace.name,
        subject=kspace.subject,
        times=kspace.times if is_cine else None,
        source=kspace.source,
    )


def _coil_images(kspace: KSpace, frame: int, place: int) -> Samples:
    """Return the images of one slice, ``(c, y, x)``."""
    samples = kspace.samples[frame, place]
    if kspace.trajectory is not None:
        return _gridded(samples, kspace.trajectory[frame], kspace.shape)
    axes = (-2, -1)
    shifted = np.fft.ifftshift(samples, axes)
    images = np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes)
    rows, columns = (
        slice(size // 2 - count // 2, size // 2 - count // 2 + count)
        for size, count in zip(images.shape[1:], kspace.shape, strict=True)
    )
    return np.asarray(images[:, rows, columns])


def _gridded(samples: Samples, places: np.ndarray, shape: tuple[int, int]) -> Samples:
    import finufft

    step = np.linalg.norm(places[1] - places[0])
    # The centre stands for some of k-space too; see `mri.gridding.radial_weights`.
    weighted = np.ascontiguousarray(samples * np.maximum(np.linalg.norm(places, axis=-1), step / 6))
    y, x = np.ascontiguousarray(places.T)
    plan = finufft.Plan(1, shape, len(samples), eps=_TOLERANCE, isign=1, dtype="complex64")
    plan.setpts(y, x)
    return np.asarray(plan.execute(weighted)).reshape(-1, *shape)


def _is_array(path: Path) -> bool:
    try:
        array = _loaded(path)
    except MrgenError:
        return False
    return array.dtype.kind == "c" and array.ndim in _AXES and array.size > 0


def _loaded(path: Path) -> Array:
    """Return the array of a ``.npy`` file, mapped from disk; a ZIP file of arrays is refused."""
    faults = (
        OSError, ValueError, EOFError, TypeError, AttributeError, OverflowError, RecursionError,
        NotImplementedError, MemoryError, SyntaxError, zipfile.BadZipFile, tokenize.TokenError,
    )  # fmt: skip
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except faults as error:
        raise MrgenError(f"{path.name} is damaged or not a NumPy array: {error}.") from error
    if not isinstance(array, np.ndarray):
        raise MrgenError(f"{path.name} is a ZIP file of arrays (.npz); save one array as .npy.")
    return array


def _read_array(path: Path) -> KSpace:
    array = _loaded(path)
    if array.dtype.kind != "c" or array.ndim not in _AXES or not array.size:
        msg = (
            f"{path.name} holds {array.dtype} {array.shape}; k-space is complex, with axes "
            f"{', '.join(_AXES.values())}."
        )
        raise MrgenError(msg)
    missing = tuple(i for i, axis in enumerate("tzcyx") if axis not in _AXES[array.ndim])
    samples = np.expand_dims(array, missing).astype(np.complex64)
    return KSpace(
        samples=samples,
        shape=(samples.shape[3], samples.shape[4]),
        affine=upright_affine(),
        name=path.stem,
        subject=plain_subject(path),
        source=Source(str(path), "npy", spacing_known=False, notes=(_NOTE,)),
    )
