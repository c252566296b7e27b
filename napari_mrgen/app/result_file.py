"""``result.h5``: what went in, what came out and what should have, for other programs to read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from napari_mrgen.io.files import drafted, opened_hdf5
from napari_mrgen.volume import Array, Volume

PARTS = ("input", "result", "truth")
NAMES = "_cases"
"""Ends the name of the dataset with the names of a part's cases."""
_CASES_SHOWN = 5
_INK = "#202124"


def write_results(path: Path, cases: Iterable[tuple[str, Mapping[str, Volume]]]) -> None:
    """Write cases one by one: none but the one in hand is in memory.

    Parameters
    ----------
    cases
        Names, and volumes under ``input``, ``result`` and ``truth``. Where all volumes of a part
        have one shape they become one dataset ``(case, ...)``, whose names are in another one, such
        as ``result_cases``; else a group with one for each.
    """
    # Space that is freed within a file stays part of it: cases are gathered in another one.
    gathered = path.with_name(".cases.part.h5")
    try:
        with h5py.File(gathered, "w", track_order=True) as found:
            for name, parts in cases:
                for part, volume in parts.items():
                    group = found.require_group(part) if part in found else _ordered(found, part)
                    dataset = group.create_dataset(name.replace("/", "-"), data=volume.array)
                    dataset.attrs["axes"] = list(volume.axes)
            with drafted(path) as draft, h5py.File(draft, "w") as file:
                for part in found:
                    _put(found[part], file, part)
    finally:
        gathered.unlink(missing_ok=True)


def _ordered(file: h5py.File, name: str) -> h5py.Group:
    return file.create_group(name, track_order=True)


def _put(group: h5py.Group, file: h5py.File, part: str) -> None:
    datasets = list(group.values())
    first = datasets[0]
    if any(d.shape != first.shape or d.dtype != first.dtype for d in datasets):
        group.copy(group, file, part)
        return
    stacked = file.create_dataset(part, (len(datasets), *first.shape), first.dtype)
    for index, dataset in enumerate(datasets):
        stacked[index] = dataset[()]
    stacked.attrs["axes"] = ["case", *first.attrs["axes"]]
    # No attribute: thousands of names are more than one can hold.
    file.create_dataset(part + NAMES, data=list(group), dtype=h5py.string_dtype())


def read_results(path: Path, most: int | None = None) -> dict[str, dict[str, Array]]:
    """Return the arrays of such a file by part and case; of the first ``most`` cases alone."""
    with opened_hdf5(path) as file:
        chosen = set(_names(file, "result")[:most])
        return {part: _cases(file, part, chosen) for part in PARTS if part in file}


def _names(file: Any, part: str) -> list[str]:
    return list(file[part + NAMES].asstr()[()] if part + NAMES in file else file[part])


def _cases(file: Any, part: str, chosen: Collection[str]) -> dict[str, Array]:
    places = {name: place for place, name in enumerate(_names(file, part)) if name in chosen}
    is_stacked = part + NAMES in file
    return {name: file[part][place if is_stacked else name][()] for name, place in places.items()}


def draw_results(path: Path, picture: Path) -> None:
    """Draw the middle of the first cases into a PNG: input, result, truth and their difference."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    results = read_results(path, _CASES_SHOWN)
    names = list(results["result"])
    parts = [part for part in PARTS if part in results]
    columns = [*parts, "difference"] if "truth" in parts else parts
    size = (2.2 * len(columns), 0.3 + 2.2 * len(names))
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(names), len(columns), squeeze=False)
    for axis, column in zip(axes[0], columns, strict=True):
        axis.set_title(column, color=_INK, fontsize=10)
    for row, name in zip(axes, names, strict=True):
        images = {part: _middle(results[part][name]) for part in parts if name in results[part]}
        row[0].set_ylabel(name, color=_INK, fontsize=8)
        for axis, column in zip(row, columns, strict=True):
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            _draw(axis, column, images)
    picture.parent.mkdir(exist_ok=True)
    with drafted(picture) as draft:
        figure.savefig(draft, format="png")


def _draw(axis: Any, column: str, images: Mapping[str, Array]) -> None:
    most = max(float(np.percentile(images["result"], 99.5)), 1e-6)
    if column == "difference" and "truth" in images:
        error = images["result"] - images["truth"]
        axis.imshow(error, cmap="RdBu_r", vmin=-most / 4, vmax=most / 4)
    elif column in images:
        axis.imshow(images[column], cmap="gray", vmin=0, vmax=most)


def _middle(array: Array) -> Array:
    """Return the middle plane ``(y, x)`` of an array with any axes before these."""
    while array.ndim > 2:
        array = array[len(array) // 2]
    return array.astype(np.float32)
