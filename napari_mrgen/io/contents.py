"""What is in images, as far as a training asks: copies of one another, nothing, or few values."""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.files import read_span
from napari_mrgen.io.formats import NIFTI, format_of
from napari_mrgen.io.headers import Header, read_header

_FAULTS = (OSError, MrgenError, TypeError, ValueError)
"""What reading may raise, such as for values that are colours."""
_FEW_VALUES = 12
"""An image of at most so many values, all whole numbers, may be a label map."""
Values = npt.NDArray[np.float32]
_SAMPLED_BYTES = 1 << 20
"""Of an image; where all of these are one value, as around a head, the whole image is compared."""


def copies_among(paths: Iterable[Path]) -> dict[Path, Path]:
    """Return the files that hold the same image as an earlier one, and that one.

    Of images the values are compared, so that the same image in ``.nii`` and ``.nii.gz``, or as
    integers and as floats, is found; of other files the bytes. The beginnings are compared first.

    Examples
    --------
    >>> import shutil, tempfile
    >>> from napari_mrgen.io import nifti
    >>> from napari_mrgen.samples import beating_heart
    >>> cine, labels = beating_heart(frames=2, slices=1, size=16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first, second = Path(folder, "a.nii.gz"), Path(folder, "b.nii.gz")
    ...     nifti.write(cine, first)
    ...     _ = shutil.copy(first, second)
    ...     {copy.name: of.name for copy, of in copies_among([first, second]).items()}
    {'b.nii.gz': 'a.nii.gz'}
    """
    beginnings: dict[bytes, list[Path]] = defaultdict(list)
    for path in paths:
        if key := content_of(path).beginning:
            beginnings[key].append(path)
    copies: dict[Path, Path] = {}
    for alike in beginnings.values():
        firsts: dict[bytes, Path] = {}
        for path in alike if len(alike) > 1 else ():
            if key := _whole(path):
                first = firsts.setdefault(key, path)
                if first is not path:
                    copies[path] = first
    return copies


@dataclass(frozen=True)
class Content:
    """What a file tells of its image without being used.

    Attributes
    ----------
    beginning
        Hash of what the image begins with; b"" of an image of nothing, and of a damaged one.
    is_nothing
        Whether it has one value everywhere, or none that is finite.
    few_values
        The number of different values, where they are few and whole as those of a label map.
    """

    beginning: bytes = b""
    is_nothing: bool = False
    few_values: int = 0


def content_of(path: Path) -> Content:
    """Tell what is in an image; most are known by their beginning, which is read once."""
    try:
        return _content(path, path.stat().st_mtime_ns)
    except _FAULTS:
        return Content()


@functools.lru_cache(maxsize=200_000)
def _content(path: Path, _modified: int) -> Content:
    if format_of(path) is not NIFTI:
        return Content(hashlib.blake2b(_first_bytes(path), digest_size=16).digest())
    header = read_header(path)
    values = _values(header, _SAMPLED_BYTES // header.dtype.itemsize * header.dtype.itemsize)
    if not values.size or (values == values[0]).all():
        values = _values(header, header.nbytes)
    beginning = _digest(header, values)
    if _is_plain(values):
        return Content(beginning)
    values = _values(header, header.nbytes)
    finite = np.unique(values[np.isfinite(values)])
    if finite.size <= 1:
        return Content(is_nothing=True)
    return Content(beginning, few_values=0 if _is_plain(values) else finite.size)


def _is_plain(values: Values) -> bool:
    """Whether there are so many values, or such, that no label map holds them."""
    finite = values[np.isfinite(values)]
    return bool((finite != np.round(finite)).any() or np.unique(finite).size > _FEW_VALUES)


def _whole(path: Path) -> bytes:
    """Hash an image; b"" where it cannot be read."""
    try:
        return _hashed(path, path.stat().st_mtime_ns)
    except _FAULTS:
        return b""


@functools.lru_cache(maxsize=200_000)
def _hashed(path: Path, _modified: int) -> bytes:
    if format_of(path) is not NIFTI:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    header = read_header(path)
    return _digest(header, _values(header, header.nbytes))


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return str(path.stat().st_size).encode() + file.read(_SAMPLED_BYTES)


def _values(header: Header, length: int) -> Values:
    stored = read_span(header.image, header.offset, min(length, header.nbytes)).view(header.dtype)
    slope, intercept = header.scaling or (1.0, 0.0)
    with np.errstate(all="ignore"):
        return (stored.reshape(-1).astype(np.float64) * slope + intercept).astype(np.float32)


def _digest(header: Header, values: Values) -> bytes:
    shape = tuple(n for n in header.shape if n != 1)
    digest = hashlib.blake2b(str(shape).encode(), digest_size=16)
    digest.update((values + np.float32(0)).tobytes())  # Minus zero is zero.
    return digest.digest()
