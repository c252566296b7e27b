"""Slices as PNG files: a file a slice, or the slices of a case as one volume.

The PNG derivative of OASIS keeps slice K of case NNN as ``case_NNN_slice_K.nii.png`` in
``keras_png_slices_{train,validate,test}``, and its labels as ``seg_NNN_slice_K.nii.png`` in
``keras_png_slices_seg_{train,validate,test}``.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.naming import SUFFIXES
from napari_mrgen.io.subjects import Subject, named_subject, subjects_in
from napari_mrgen.volume import Array, Kind, Source, Volume, VolumeInfo, upright_affine

_CASE = re.compile(r"(case|seg)_(\d+)_slice_(\d+)(?:\.nii)?\.png$", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"[^a-zA-Z0-9]*(slice|frame|image|img|im|z)?[^a-zA-Z0-9]*\d+$", re.I)

_MOST_SLICES = 512
"""No scan is expected to have more."""

_FAULTS = (
    OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, MemoryError, struct.error,
    zlib.error,
)  # fmt: skip
"""What Pillow raises for a damaged file."""

_LABEL_STEP = 85
"""The four tissues are stored as grey values 0, 85, 170 and 255, so that they can be seen."""

_NOTE = (
    "PNG files hold neither voxel size nor orientation: lengths are in voxels, "
    "left and right are not known."
)


class Case(NamedTuple):
    """The slices of one case in one folder, from first to last."""

    folder: Path
    kind: Kind
    number: str
    slices: tuple[Path, ...]

    @property
    def subject(self) -> str:
        return f"case_{self.number}"

    @property
    def set(self) -> str:
        """Name of the folder that holds the images: its own, or the one that labels belong to."""
        return self.folder.name.replace("_seg", "", 1)


def is_png(path: Path) -> bool:
    return path.suffix.lower() == ".png"


def is_case(path: Path) -> bool:
    """Whether a file is one slice of a case, or its labels."""
    return _CASE.match(path.name) is not None


def cases_in(paths: Iterable[Path]) -> tuple[Case, ...]:
    """Group the slices of cases; those are left out that no case is named in."""
    groups: dict[tuple[Path, Kind, str], dict[int, Path]] = defaultdict(dict)
    for path in paths:
        if match := _CASE.match(path.name):
            kind: Kind = "image" if match[1].lower() == "case" else "labels"
            groups[path.parent, kind, match[2]][int(match[3])] = path
    return tuple(
        Case(*key, tuple(slices[number] for number in sorted(slices)))
        for key, slices in sorted(groups.items())
    )


def check_complete(cases: Sequence[Case]) -> None:
    """Refuse a case that lacks a slice which other cases in its folder have, or one in between."""
    expected: dict[tuple[Path, Kind], set[int]] = defaultdict(set)
    numbers = [{_slice_number(path) for path in case.slices} for case in cases]
    for case, there in zip(cases, numbers, strict=True):
        expected[case.folder, case.kind] |= set(range(min(there), max(there) + 1))
    for case, there in zip(cases, numbers, strict=True):
        if missing := sorted(expected[case.folder, case.kind] - there):
            shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
            msg = (
                f"{case.subject} in {case.folder.name} lacks slice {shown}; "
                "copy it again, or take the case out of the folder."
            )
            raise MrgenError(msg)


def labels_folder(folder: Path) -> Path:
    """Return where the labels of a folder of cases are kept: ``..._seg_train`` of ``..._train``."""
    head, _, last = folder.name.rpartition("_")
    return folder.with_name(f"{head}_seg_{last}")


def subjects_of(paths: Sequence[Path], root: Path) -> dict[Path, Subject]:
    """Return whose slice each file below ``root`` is, as `subjects_in` does for volumes.

    The last number of a name is that of a slice: ``A_012`` is of A. Where that leaves one name for
    all, or for more files than a scan has slices, it was not: each file stands for itself.
    """
    bare = {path: _LAST_NUMBER.sub("", _stem(path)) for path in paths}
    counts = Counter((path.parent, name) for path, name in bare.items())
    if len(counts) == 1 or max(counts.values(), default=0) > _MOST_SLICES:
        alone = {path: Subject(path.stem, "name") for path in paths}
        known = {path: named_subject(path) for path in paths}
        return {
            path: Subject(name, "identifier") if (name := known[path]) else alone[path]
            for path in paths
        }
    return subjects_in(paths, root, stem_of=lambda path: bare[path] or path.stem)


def slices_info(paths: Sequence[Path]) -> VolumeInfo:
    """Tell the shape of the volume that `read_slices` would return, from the first slice."""
    with _opened(paths[0]) as picture:
        width, height = picture.size
    return VolumeInfo("zyx", (len(paths), height, width), upright_affine(), spacing_known=False)


def read_slices(paths: Sequence[Path]) -> Volume:
    """Read slices as a ``zyx`` volume, labels where they are named so; 8 and 16 bit stay.

    The voxel size is not known and counts as 1; a layer then counts voxels, not millimetres.
    """
    slices = [_pixels(path) for path in paths]
    for path, array in zip(paths, slices, strict=True):
        if array.shape != slices[0].shape:
            msg = (
                f"{path.name} has {_size(array)} pixels, {paths[0].name} {_size(slices[0])}; "
                "the slices of a volume must be of one size."
            )
            raise MrgenError(msg)
    array = np.stack(slices)
    case = _CASE.match(paths[0].name)
    is_labels = case is not None and case[1].lower() == "seg"
    return Volume(
        array=_labels(array, paths[0]) if is_labels else array,
        axes="zyx",
        affine=upright_affine(),
        kind="labels" if is_labels else "image",
        name=f"{case[1]}_{case[2]}".lower() if case else paths[0].stem,
        source=Source(str(paths[0]), "png", spacing_known=False, notes=(_NOTE,)),
    )


def _slice_number(path: Path) -> int:
    match = _CASE.match(path.name)
    return int(match[3]) if match else 0


def _stem(path: Path) -> str:
    """Return the name without PNG's suffix and that of the volume that a slice was taken from."""
    name = path.stem
    for suffix in SUFFIXES:
        name = name.replace(suffix, "")
    return name


def _size(array: Array) -> str:
    return f"{array.shape[0]} x {array.shape[1]}"


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path, formats=("PNG",))
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise MrgenError(f"{path} cannot be opened: {error.strerror}.") from error
    except Image.DecompressionBombError as error:
        raise MrgenError(f"{path.name} is too large for a slice: {error}.") from error
    except _FAULTS as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> MrgenError:
    return MrgenError(f"{path.name} is damaged or not a PNG file; copy or download it again.")


def _pixels(path: Path) -> Array:
    """Return the grey values ``(y, x)`` of one file."""
    with _opened(path) as picture:
        try:
            picture.load()
        except _FAULTS as error:
            raise _damaged(path) from error
        if picture.mode.startswith("I"):
            return np.asarray(picture).astype(np.uint16)
        if picture.mode in ("1", "L", "LA"):
            return np.asarray(picture.convert("L"))
        colours = np.asarray(picture.convert("RGB"))
    if (colours != colours[..., :1]).any():
        msg = f"{path.name} is in colour; a grey slice of one value a pixel is needed."
        raise MrgenError(msg)
    return np.ascontiguousarray(colours[..., 0])


def _labels(array: Array, first: Path) -> Array:
    """Return 0 to 3 for the grey values 0, 85, 170 and 255; 0 to 3 themselves stay."""
    if array.max() <= 3:
        return array
    if (array % _LABEL_STEP).any():
        odd = int(array[array % _LABEL_STEP != 0][0])
        msg = (
            f"The labels from {first.name} on hold the grey value {odd}; "
            "0, 85, 170 and 255 are expected, one for each tissue."
        )
        raise MrgenError(msg)
    return array // _LABEL_STEP
