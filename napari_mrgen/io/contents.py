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
        if key := _key(path, whole=False):
            beginnings[key].append(path)
    copies: dict[Path, Path] = {}
    for alike in beginnings.values():
        firsts: dict[bytes, Path] = {}
        for path in alike if len(alike) > 1 else ():
            if key := _key(path, whole=True):
                first = firsts.setdefault(key, path)
                if first is not path:
                    copies[path] = first
    return copies


def first_values(path: Path) -> Values:
    """Return values from the beginning of a NIfTI, Analyze or MGH image; none of other files.

    It is the whole image where the beginning is one value only.
    """
    if format_of(path) is not NIFTI:
        return np.zeros(0, np.float32)
    header = read_header(path)
    values = _values(header, _SAMPLED_BYTES // header.dtype.itemsize * header.dtype.itemsize)
    if values.size and (values != values[0]).any():
        return values
    return _values(header, header.nbytes)


@dataclass(frozen=True)
class Content:
    """What the values of an image tell: whether it holds nothing, and how many values there are."""

    is_nothing: bool = False
    """Whether it has one value everywhere, or none that is finite."""
    few_values: int = 0
    """The number of different values, where they are few and whole as those of a label map."""


def content_of(path: Path) -> Content:
    """Tell what is in a NIfTI, Analyze or MGH image; most are known by their beginning."""
    try:
        return _content(path, path.stat().st_mtime_ns)
    except (OSError, MrgenError, TypeError, ValueError):
        return Content()


@functools.lru_cache(maxsize=200_000)
def _content(path: Path, _modified: int) -> Content:
    if format_of(path) is not NIFTI:
        return Content()
    values = first_values(path)
    if _is_plain(values):
        return Content()
    header = read_header(path)
    values = _values(header, header.nbytes)
    finite = np.unique(values[np.isfinite(values)])
    if finite.size <= 1:
        return Content(is_nothing=True)
    return Content() if _is_plain(values) else Content(few_values=finite.size)


def _is_plain(values: Values) -> bool:
    """Whether there are so many values, or such, that no label map holds them."""
    finite = values[np.isfinite(values)]
    return bool((finite != np.round(finite)).any() or np.unique(finite).size > _FEW_VALUES)


def _key(path: Path, *, whole: bool) -> bytes:
    """Hash an image, or the beginning of it; b"" where it cannot be read."""
    try:
        return _hashed(path, path.stat().st_mtime_ns, whole)
    except (OSError, MrgenError, TypeError, ValueError):  # Such as values of several colours.
        return b""


@functools.lru_cache(maxsize=200_000)
def _hashed(path: Path, _modified: int, whole: bool) -> bytes:
    if format_of(path) is not NIFTI:
        content = path.read_bytes() if whole else _first_bytes(path)
        return hashlib.blake2b(content, digest_size=16).digest()
    header = read_header(path)
    values = _values(header, header.nbytes) if whole else first_values(path)
    if not values.size or (values == values[0]).all():
        return b""  # Images of nothing are no copies.
    return _digest(header, values)


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
