"""Pictures of a run: its previews, the movie that they make, and the plot of its curves."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_mrgen.io.files import replacing
from napari_mrgen.io.layers import contrast_limits
from napari_mrgen.io.movies import montage, write_movie
from napari_mrgen.volume import Array, Volume

PICTURES_A_SECOND = 6.0
_A_ROW = 4
"""Most pictures of one preview in a row."""
_MOST_PICTURES = 120
"""Most frames of a movie; of more pictures as many are taken, evenly spread."""
_MOST_PIXELS = 512
"""Longest side of a picture."""


def picture(volume: Volume) -> npt.NDArray[np.uint8]:
    """Show a volume as one grey picture ``(y, x)``: its samples in a grid, in square pixels.

    Of slices the middle one, of frames the last, where a prediction is hardest. The volume's
    ``window`` of intensities, if it has one, is that of all pictures of a run.
    """
    array = volume.array
    if "t" in volume.axes:
        array = array.take(-1, axis=volume.axes.index("t"))
    panels = array[..., array.shape[-3] // 2, :, :].reshape(-1, *array.shape[-2:])
    low, high = volume.window or contrast_limits(panels)
    grey = 255 * ((montage(panels).astype(np.float32) - low) / (high - low)).clip(0, 1)
    return np.asarray(Image.fromarray(grey.astype(np.uint8)).resize(_size(grey, volume)))


def save_picture(volume: Volume, path: Path) -> None:
    """Write the picture of a preview as PNG, whole or not at all."""
    with replacing(path) as file:
        Image.fromarray(picture(volume)).save(file, "PNG")


def save_movie(pictures: Iterable[Path], path: Path) -> None:
    """Write pictures, in their order, as a movie; none or one make none."""
    movie = as_movie(pictures)
    if movie is not None:
        path.parent.mkdir(exist_ok=True)
        write_movie(movie, path, frames_per_second=PICTURES_A_SECOND)


def as_movie(pictures: Iterable[Path]) -> Volume | None:
    """Return pictures, in their order, as the frames of a movie; None of fewer than two.

    A picture stands for its preview: where that has several volumes, all are in the frame.
    """
    paths = list(pictures)
    if len(paths) < 2:
        return None
    places = np.linspace(0, len(paths) - 1, min(_MOST_PICTURES, len(paths))).round().astype(int)
    frames = [_page(paths[place]) for place in places]
    # Not every picture need be as large: a run may have gone on with another version.
    same = [frame for frame in frames if frame.shape == frames[-1].shape]
    upright = np.diag([-1.0, -1.0, -1.0, 1.0])[:, [2, 1, 0, 3]]
    return Volume(np.stack(same)[:, None], "tzyx", upright)


def preview_pictures(run_dir: Path, stage: str) -> list[Path]:
    """List the first picture of each preview of a stage, in their order."""
    return sorted((run_dir / "previews").glob(f"*-{stage}-{'[0-9]' * 8}-0.png"))


def _page(first: Path) -> npt.NDArray[np.uint8]:
    """Return all pictures of a preview ``(y, x)``, in rows, given its first: ``...-0.png``."""
    paths = [first]
    while first.stem.endswith("-0"):
        after = first.with_name(f"{first.stem[:-1]}{len(paths)}.png")
        if not after.exists():
            break
        paths.append(after)
    pictures = [np.asarray(Image.open(path)) for path in paths]
    alike = [picture for picture in pictures if picture.shape == pictures[0].shape]
    rows = [np.hstack(alike[place : place + _A_ROW]) for place in range(0, len(alike), _A_ROW)]
    width = rows[0].shape[1]
    return np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]))) for row in rows])


def _size(grid: Array, volume: Volume) -> tuple[int, int]:
    """Return width and height for `Image.resize`."""
    _, dy, dx = volume.spacing
    height, width = grid.shape[0] * dy / min(dy, dx), grid.shape[1] * dx / min(dy, dx)
    factor = min(1.0, _MOST_PIXELS / max(height, width))
    return max(1, round(width * factor)), max(1, round(height * factor))


Curve = list[tuple[int, float]]
"""Step and value."""

_COLUMNS = 3
_INK, _FAINT, _LINE = "#202124", "#8b93a1", "#1a73b8"
_TITLES = {"train": "loss", "held_out": "held out"}


def read_curves(table: Path, stage: str) -> dict[str, Curve]:
    """Return the losses and metrics of a stage by name, such as ``train/loss``, of ``metrics.csv``.

    A run that was resumed has some steps twice: the later values count.
    """
    curves: dict[str, dict[int, float]] = {}
    with table.open(newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.reader(file):
            with suppress(ValueError):  # The head; a row that a killed process left torn.
                of, step, name, value = row
                point = {int(step): float(value)}
                if of == stage:
                    curves.setdefault(name, {}).update(point)
    return {name: sorted(values.items()) for name, values in curves.items()}


def plot_curves(curves: Mapping[str, Curve], title: str, path: Path) -> None:
    """Plot each curve into a panel of a PNG: losses first, then metrics of held-out data."""
    if not curves:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = math.ceil(len(curves) / _COLUMNS)
    figure = Figure(figsize=(4 * _COLUMNS, 0.6 + 2.6 * rows), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=_INK)
    for place, name in enumerate(sorted(curves, key=lambda name: not name.startswith("train/"))):
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        _plot(axes, name, curves[name])
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as file:
        figure.savefig(file, format="png")


def _plot(axes: Any, name: str, curve: Curve) -> None:
    group, _, rest = name.partition("/")
    steps, values = zip(*curve, strict=True)
    axes.plot(steps, values, color=_LINE, linewidth=1.4, marker="." if len(steps) < 40 else "")
    axes.set_title(f"{rest} ({_TITLES.get(group, group)})", color=_INK, fontsize=10)
    axes.set_xlabel("step", color=_FAINT, fontsize=8)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.tick_params(colors=_FAINT, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e8eb", linewidth=0.6)
