"""What the manifest names: napari's reader, writers and samples."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import prod
from pathlib import Path

import psutil

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import movies, nifti
from napari_mrgen.io.find import Reference, find
from napari_mrgen.io.header import is_header
from napari_mrgen.io.layers import LayerData, from_layer, to_layer
from napari_mrgen.io.names import is_label_name, stem, subject_of, suffix_of
from napari_mrgen.io.phantoms import beating_heart, brain
from napari_mrgen.volume import Volume

Paths = str | Sequence[str]
Reader = Callable[[Paths], list[LayerData]]

_LOOKED_AT = 5000
"""Files of a folder that are looked at, to tell whether it holds MRI."""
_BYTES_A_VOXEL = 4


def get_reader(path: Paths) -> Reader | None:
    """Return the reader of files and folders of MRI; None for what is not ours, quickly."""
    paths = _as_paths(path)
    return read_layers if paths and all(_is_ours(one) for one in paths) else None


def read_layers(path: Paths) -> list[LayerData]:
    """Read files and folders; of folders also the label maps that belong to an image."""
    layers: list[LayerData] = []
    for one in _as_paths(path):
        if one.is_dir():
            references = find(one)
            _check_memory(one, references)
            for reference in references:
                layers += [to_layer(volume) for volume in _with_labels(reference)]
        else:
            layers.append(to_layer(Reference(one, subject_of(one)).read()))
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
        return bool(suffix_of(path)) and is_header(path)
    files = (Path(parent, name) for parent, _, names in os.walk(path) for name in names)
    return any(suffix_of(file) and is_header(file) for file in islice(files, _LOOKED_AT))


def _with_labels(reference: Reference) -> Iterator[Volume]:
    yield reference.read()
    labels = reference.read_labels()
    if labels is not None:
        yield labels


def _check_memory(folder: Path, references: Sequence[Reference]) -> None:
    wanted = sum(prod(nifti.peek(one.path).shape) * _BYTES_A_VOXEL for one in references)
    free = psutil.virtual_memory().available
    if wanted > free / 2:
        msg = (
            f"{folder} holds {len(references)} images, {wanted / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB of memory are free; open some, or train from the folder."
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
