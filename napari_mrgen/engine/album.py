"""The album of a run: every preview as a small picture, and a movie of how they got better."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_mrgen.engine.atomic import replacing
from napari_mrgen.io.layers import contrast_limits
from napari_mrgen.io.movies import montage, write_movie
from napari_mrgen.volume import Array, Volume

_PICTURES_A_SECOND = 6.0
_MOST_PICTURES = 120
"""In a movie; of a longer album as many, evenly spread."""
_MOST_PIXELS = 512
"""Longest side of a picture."""


def picture(volume: Volume) -> npt.NDArray[np.uint8]:
    """Show a volume as one grey picture ``(y, x)``: its samples in a grid, in square pixels.

    Of slices the middle one, of frames the last, where a prediction is hardest.
    """
    array = volume.array
    if "t" in volume.axes:
        array = array.take(-1, axis=volume.axes.index("t"))
    panels = array[..., array.shape[-3] // 2, :, :].reshape(-1, *array.shape[-2:])
    low, high = contrast_limits(panels)
    grey = 255 * ((montage(panels).astype(np.float32) - low) / (high - low)).clip(0, 1)
    return np.asarray(Image.fromarray(grey.astype(np.uint8)).resize(_size(grey, volume)))


def keep(volume: Volume, path: Path) -> None:
    """Write the picture of a preview as PNG, whole or not at all."""
    with replacing(path) as file:
        Image.fromarray(picture(volume)).save(file, "PNG")


def bind(pictures: Iterable[Path], path: Path) -> None:
    """Write pictures, in their order, as a movie; none or one make none."""
    found = list(pictures)
    if len(found) < 2:
        return
    places = np.linspace(0, len(found) - 1, min(_MOST_PICTURES, len(found))).round().astype(int)
    frames = [np.asarray(Image.open(found[place])) for place in places]
    # Not every picture need be as large: a run may have gone on with another version.
    same = [frame for frame in frames if frame.shape == frames[-1].shape]
    path.parent.mkdir(exist_ok=True)
    movie = Volume(np.stack(same)[:, None], "tzyx", np.eye(4))
    write_movie(movie, path, frames_per_second=_PICTURES_A_SECOND)


def _size(grid: Array, volume: Volume) -> tuple[int, int]:
    """Return width and height for `Image.resize`."""
    _, dy, dx = volume.spacing
    height, width = grid.shape[0] * dy / min(dy, dx), grid.shape[1] * dx / min(dy, dx)
    factor = min(1.0, _MOST_PIXELS / max(height, width))
    return max(1, round(width * factor)), max(1, round(height * factor))
