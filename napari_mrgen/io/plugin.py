"""What the manifest names: napari's reader, writers and samples."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from math import prod
from pathlib import Path

import numpy as np
import psutil

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import movies, nifti
from napari_mrgen.io.datasets import oasis
from napari_mrgen.io.find import Reference, find, reference_to
from napari_mrgen.io.formats import FORMATS, Format, fault_of
from napari_mrgen.io.layers import LayerData, from_layer, to_layer
from napari_mrgen.io.naming import is_label_name, stem, suffix_of
from napari_mrgen.samples import beating_heart, brain
from napari_mrgen.volume import UNKNOWN, Volume
from napari_mrgen.wording import count_of, format_size

Paths = str | Sequence[str]
Reader = Callable[[Paths], list[LayerData]]

_MOST_CHECKED = 5000
"""Largest number of files of a folder that are checked, to see whether it holds MRI."""
_BYTES_A_VOXEL = 4
_MOST_NAMED = 3
_MOST_VOXELS = 1 << 26
"""Largest set of cases that is opened at once: 32 of the PNG derivative of OASIS, in seconds."""


def get_reader(path: Paths) -> Reader | None:
    """Return the reader of files and folders of MRI; None for what is not ours, quickly."""
    paths = _as_paths(path)
    return read_layers if paths and all(_is_ours(one) for one in paths) else None


def read_layers(path: Paths) -> list[LayerData]:
    """Read files and folders; of folders also the label maps that belong to an image.

    A slice opens its whole case, k-space the image of it. A folder of cases, or of sessions of
    OASIS-1, opens as one layer with a slider for the cases: the first ones, as many as open in
    moments.
    """
    layers: list[LayerData] = []
    for one in _as_paths(path):
        if one.is_dir():
            layers += [to_layer(volume) for volume in _volumes_in(one)]
        else:
            layers.append(to_layer(reference_to(one).read()))
    return layers


def write_nifti(path: str, layers: list[LayerData]) -> list[str]:
    """Write one layer to the path, several each to a file of its own beside it."""
    chosen = Path(path)
    suffix = suffix_of(chosen) or ".nii.gz"
    volumes = [from_layer(layer) for layer in layers]
    names = [stem(chosen)] if len(volumes) == 1 else _file_names(stem(chosen), volumes)
    written = [chosen.with_name(name + suffix) for name in names]
    for volume, file in zip(volumes, written, strict=True):
        nifti.write(volume, file)
    return [str(file) for file in written]


def write_movie(path: str, layers: list[LayerData]) -> list[str]:
    """Write an image layer as a movie, with a labels layer drawn over it if there is one."""
    volumes = [from_layer(layer) for layer in layers]
    image = next((v for v in volumes if v.kind == "image"), volumes[0])
    labels = next((v for v in volumes if v.kind == "labels" and v is not image), None)
    if "t" in image.axes and image.times is None:
        rate = movies.FRAMES_PER_SECOND
        warnings.warn(
            f"Frame times are not known: saved at {rate:g} frames a second.", stacklevel=2
        )
    return [str(file) for file in movies.write_movie(image, Path(path), labels)]


def sample_heart() -> list[LayerData]:
    return [to_layer(volume) for volume in beating_heart()]


def sample_brain() -> list[LayerData]:
    return [to_layer(volume) for volume in brain()]


def _as_paths(path: Paths) -> list[Path]:
    return [Path(path)] if isinstance(path, str | os.PathLike) else [Path(one) for one in path]


def _is_ours(path: Path) -> bool:
    if not path.is_dir():
        return _opens(path, FORMATS)
    files = (Path(parent, name) for parent, _, names in os.walk(path) for name in names)
    in_folders = [one for one in FORMATS if one.suffixes or one.read_slices]
    return any(_opens(file, in_folders) for file in islice(files, _MOST_CHECKED))


def _opens(file: Path, formats: Iterable[Format]) -> bool:
    return any(one.opens and one.matches(file) for one in formats)


def _volumes_in(folder: Path) -> Iterator[Volume]:
    references = _readable(folder, find(folder))
    cases = [one for one in references if one.slices or oasis.session_of(one.path)]
    if 1 < len(cases) == len(references):
        yield from _as_set(folder, cases)
        return
    _check_memory(folder, references)
    for reference in references:
        yield reference.read()
        labels = reference.read_labels()
        if labels is not None:
            yield labels


def _readable(folder: Path, references: Sequence[Reference]) -> list[Reference]:
    """Return the images that can be read; a warning names the others."""
    faults = {one: fault for one in references if not one.slices and (fault := fault_of(one.path))}
    kept = [one for one in references if one not in faults]
    if not kept:
        raise MrgenError(next(iter(faults.values())))
    if faults:
        first = " ".join(list(faults.values())[:_MOST_NAMED])
        warnings.warn(
            f"{count_of(len(faults), 'file')} in {folder.name} cannot be opened. {first}",
            stacklevel=2,
        )
    return kept


def _as_set(folder: Path, cases: Sequence[Reference]) -> Iterator[Volume]:
    """Yield the first cases as one image, and their labels as another, stacked along ``n``.

    Those whose voxels lie elsewhere than the first one's are left out, too. A warning says how
    many are open.
    """
    first = cases[0].info()
    most = max(1, _MOST_VOXELS // prod(first.shape))
    infos = [(case, case.info()) for case in cases[:most]]
    shown = [
        case
        for case, info in infos
        if info.shape == first.shape and np.allclose(info.affine, first.affine)
    ]
    _check_memory(folder, shown)
    if len(shown) < len(cases):
        warnings.warn(
            f"{folder.name} holds {len(cases)} cases; {len(shown)} of them are open, "
            f"{shown[0].subject} to {shown[-1].subject}; to see another, open one of its files.",
            stacklevel=2,
        )
    labelled = [case.read_labels() for case in shown if case.labels]
    stacks = [[case.read() for case in shown], [labels for labels in labelled if labels]]
    for volumes in stacks:
        if len(volumes) == len(shown):
            array = np.stack([volume.array for volume in volumes])
            name = folder.name if volumes[0].kind == "image" else f"{folder.name}_labels"
            changes = {
                "name": name, "subject": None, "participant": UNKNOWN,
                "cases": tuple(case.path.name for case in shown),
            }  # fmt: skip
            yield volumes[0].with_array(array, "nzyx", **changes)


def _check_memory(folder: Path, references: Sequence[Reference]) -> None:
    needed = sum(prod(one.info().shape) * _BYTES_A_VOXEL for one in references)
    free = psutil.virtual_memory().available
    if needed > free / 2:
        msg = (
            f"{folder} holds {len(references)} images, {format_size(needed)}, and "
            f"{format_size(free)} of memory are free; open some, or train from the folder."
        )
        raise MrgenError(msg)


def _file_names(chosen: str, volumes: Sequence[Volume]) -> list[str]:
    """Name each file after its layer; label maps so that they are known as such again."""
    names: list[str] = []
    for volume in volumes:
        slug = re.sub(r"[^\w.-]+", "_", volume.name).strip("_") or volume.kind
        name = f"{chosen}_{slug}"
        if volume.kind == "labels" and not is_label_name(Path(name)):
            name += "_labels"
        count = names.count(name)
        names.append(f"{name}_{count + 1}" if count else name)
    return names
