"""Pairs of series in HDF5: with artefacts under ``imagesRecon``, without under ``imagesTrue``.

The layout of UNet-MRI-Reconstruction and of MATLAB v7.3 files: series, x, y, frames; or, as MATLAB
writes it, the other way round. A series is addressed as a file in a folder would be:
``train.h5/12`` is the thirteenth. One is read at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.raw_data.hdf5 import child, opened_hdf5, read_dataset
from napari_mrgen.volume import Source, Volume, upright_affine

KEYS = ("imagesRecon", "imagesTrue")
SUFFIXES = (".h5", ".hdf5", ".mat")


def is_series(path: Path) -> bool:
    """Whether a path names one series in an HDF5 file."""
    return path.name.isdecimal() and path.parent.suffix.lower() in SUFFIXES


def places(path: Path) -> tuple[Path, ...]:
    """Return the paths of all series in a file; none where it holds no such images."""
    with opened_hdf5(path) as file:
        stored = _dataset(file)
        count = _count(path, stored)
    return tuple(path / f"{index:06d}" for index in range(count))


def series_in(path: Path) -> tuple[Path, ...]:
    """Return the paths of all series in a file, or in the files of a folder in their order."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    chosen = [file for file in files if file.is_file() and file.suffix.lower() in SUFFIXES]
    return tuple(place for file in chosen for place in places(file))


def read_series(path: Path) -> Volume:
    """Read one series as ``tzyx`` with one slice; lengths are in pixels, times are not known."""
    file_path, index = path.parent, int(path.name)
    with opened_hdf5(file_path) as file:
        stored = _dataset(file)
        if stored is None or index >= _count(file_path, stored):
            names = " or ".join(KEYS)
            msg = f"{file_path.name} has no series {index} under {names}; check the file."
            raise MrgenError(msg)
        is_matlab = _is_matlab(file_path)
        place = (..., index) if is_matlab else index
        frames = read_dataset(stored, place)
        frames = frames if is_matlab else frames.transpose(2, 1, 0)
    return Volume(
        array=np.ascontiguousarray(frames)[:, None],
        axes="tzyx",
        affine=upright_affine(),
        name=series_name(path),
        source=Source(str(path), "hdf5", spacing_known=False),
    )


def series_name(path: Path) -> str:
    """Return the name of a series: that of its file, and its place in it."""
    return f"{path.parent.stem}-{int(path.name):06d}"


def _dataset(file: Any) -> Any:
    """Return the images, four axes; None without any."""
    found = (one for key in KEYS if (one := child(file, key)) is not None)
    dataset = next(found, None)
    return dataset if getattr(dataset, "ndim", None) == 4 else None


def _count(path: Path, stored: Any) -> int:
    return 0 if stored is None else int(stored.shape[-1 if _is_matlab(path) else 0])


def _is_matlab(path: Path) -> bool:
    """Whether a file was written by MATLAB, which stores the last axis first."""
    return path.suffix.lower() == ".mat"
