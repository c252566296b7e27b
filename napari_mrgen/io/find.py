"""Find the scans under a path without reading them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import acdc, nifti
from napari_mrgen.io.names import (
    image_stem,
    is_label_name,
    stem,
    subject_of,
    suffix_of,
)
from napari_mrgen.volume import Array, Volume

_MOST_FILES = 1_000_000
_HEADERS = (".hdr", ".hdr.gz")


@dataclass(frozen=True)
class Reference:
    """A scan on disk: where it is and whose it is; read when it is needed.

    ``labels`` are the label maps that belong to it, if any (for a cine of ACDC: of the ED and ES
    frames).
    """

    path: Path
    subject: str
    labels: tuple[Path, ...] = ()

    def read(self) -> Volume:
        """Read the image; its covariates are what ACDC's ``Info.cfg`` says."""
        volume = nifti.read(self.path)
        return replace(volume, subject=self.subject, covariates=acdc.read_info(self.path))

    def read_labels(self) -> Volume | None:
        """Return labels on the image's axes; ``covariates["labelled_frames"]`` lists the frames.

        Frames without labels are zero.
        """
        if not self.labels:
            return None
        image = nifti.peek(self.path)
        maps = [nifti.read(path) for path in self.labels]
        array, frames = _on_axes(image, maps, self.labels)
        return Volume(
            array=array,
            axes=image.axes,
            affine=image.affine,
            kind="labels",
            name=f"{stem(self.path)}_labels",
            subject=self.subject,
            covariates={**acdc.read_info(self.path), "labelled_frames": frames},
            times=image.times,
            source=maps[0].source if maps[0].axes == image.axes else None,
        )


def find(path: Path, axes: tuple[str, ...] = ()) -> tuple[Reference, ...]:
    """List the images under a file or folder, sorted by subject; label maps hang on their image.

    ``axes`` keeps only images with these axes (``("tzyx",)`` finds cines), from their headers.
    The ED and ES frames of an ACDC patient are left out where the cine that they are copied from
    is listed.
    """
    path = Path(path)
    if not path.exists():
        raise MrgenError(f"There is no {path}; check the path.")
    beside = scans_in(path if path.is_dir() else path.parent, recursive=path.is_dir())
    labels = [scan for scan in beside if is_label_name(scan)]
    images = [scan for scan in beside if not is_label_name(scan)] or labels
    images = images if path.is_dir() else [path]
    fitting = [image for image in images if not axes or _axes_of(image) in axes]
    if not fitting:
        raise MrgenError(_nothing_found(path, axes, len(images)))
    cines = {image.parent for image in fitting if acdc.is_cine(image)}
    whole = (i for i in fitting if not (i.parent in cines and acdc.is_frame(i)))
    references = (Reference(i, subject_of(i), _labels_of(i, labels)) for i in whole)
    return tuple(sorted(references, key=lambda reference: (reference.subject, reference.path)))


def scans_in(folder: Path, *, recursive: bool = True) -> list[Path]:
    """List the MRI files in a folder, by name; of a pair only the header."""
    scans: list[Path] = []
    seen = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".")) if recursive else []
        seen += len(names)
        if seen > _MOST_FILES:
            msg = f"{folder} holds more than {_MOST_FILES:,} files; choose a folder further down."
            raise MrgenError(msg)
        files = (Path(parent, name) for name in names if not name.startswith("."))
        scans += [file for file in files if suffix_of(file)]
    headers = {scan.with_name(stem(scan)) for scan in scans if suffix_of(scan) in _HEADERS}
    pairs = (".img", ".img.gz")
    return sorted(
        scan
        for scan in scans
        if suffix_of(scan) not in pairs or scan.with_name(stem(scan)) not in headers
    )


def _axes_of(path: Path) -> str:
    """Return the axes; '' for a file that cannot be read, which is then not listed."""
    try:
        return nifti.peek(path).axes
    except MrgenError:
        return ""


def _labels_of(image: Path, labels: Iterable[Path]) -> tuple[Path, ...]:
    """Return the maps of an image: same folder, same name but for the word that says labels."""
    beside = (label for label in labels if label.parent == image.parent and label != image)
    if acdc.is_cine(image):
        patient = stem(image).removesuffix("_4d")
        return tuple(m for m in beside if acdc.is_frame(m) and subject_of(m) == patient)
    return tuple(label for label in beside if image_stem(label) == stem(image))


def _on_axes(
    image: nifti.Peek, maps: list[Volume], paths: tuple[Path, ...]
) -> tuple[Array, tuple[int, ...]]:
    """Lay label maps on the image's axes; return them and the frames that have any."""
    for volume, path in zip(maps, paths, strict=True):
        if volume.array.shape[-3:] != image.shape[-3:]:
            msg = f"{path.name} has {volume.array.shape[-3:]} voxels, its image {image.shape[-3:]}."
            raise MrgenError(msg)
    if maps[0].axes == image.axes:
        return maps[0].array, tuple(range(maps[0].size("t")))
    array = np.zeros(image.shape, maps[0].array.dtype)
    frames = []
    for volume, path in zip(maps, paths, strict=True):
        frame = acdc.frame_of(path)
        if frame is None or frame >= len(array):
            msg = f"{path.name} labels one frame of a cine of {len(array)}, its name not which."
            raise MrgenError(msg)
        array[frame] = volume.array
        frames.append(frame)
    return array, tuple(frames)


def _nothing_found(path: Path, axes: tuple[str, ...], others: int) -> str:
    wanted = f"with axes {' or '.join(axes)}" if axes else "(NIfTI, Analyze or MGH)"
    rest = f"; {others} with other axes" if axes and others else ""
    return f"There is no image {wanted} in {path}{rest}."
