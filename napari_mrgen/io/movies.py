"""Movies of volumes as people share them: GIF, MP4, or a sequence of PNG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.facts import NOTICE, write_sidecar
from napari_mrgen.io.files import saving
from napari_mrgen.io.layers import contrast_limits
from napari_mrgen.volume import Array, Volume

SUFFIXES = (".gif", ".mp4", ".png")
FRAMES_PER_SECOND = 20.0
"""Frame rate of volumes whose frame times are not known."""

Bytes = npt.NDArray[np.uint8]

_SMALLEST = 320
"""Pixels of the shorter side; movies are enlarged by whole numbers until they have as many."""
_GAP = 1
_LABEL_COLOURS = ((231, 76, 60), (46, 204, 113), (52, 152, 219))
_LABEL_SHARE = 0.4
_GIF_FASTEST = 2
"""Shortest frame in hundredths of a second; viewers slow shorter ones down to ten."""
_MARK = "synthetic"
_MARK_HEIGHT = 1 / 22
"""Size of its letters, of the shorter side."""


@dataclass(frozen=True)
class Movie:
    """Frames as indices into one palette, so that no frame's colours depend on another's."""

    frames: Iterator[Bytes]
    palette: Bytes
    """(256, 3)"""
    starts: tuple[float, ...]
    """When each frame begins in s, and when the last one ends."""
    comment: str = ""
    """What the metadata of the file say of a volume that a model made."""

    def pictures(self) -> Iterator[Image.Image]:
        for frame in self.frames:
            picture = Image.fromarray(frame)
            picture.putpalette(self.palette.tobytes())
            yield picture


def write_movie(
    volume: Volume,
    path: Path,
    labels: Volume | None = None,
    *,
    frames_per_second: float | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write a volume as a movie and return the files written: many for PNG.

    Frames run at the speed of the heart where their times are known, else at
    `FRAMES_PER_SECOND`; a volume without frames is run through slice by slice. Slices and samples
    stand side by side. One intensity window serves all frames, and pixels are made square.
    ``labels`` are drawn over the image.

    A movie of what a model made says so in its metadata, in a JSON file beside it
    (`napari_mrgen.io.facts.write_sidecar`) and, unless it was generated with
    ``mark_synthetic=False``, in a corner.

    Examples
    --------
    >>> import tempfile
    >>> from napari_mrgen.samples import beating_heart
    >>> cine, labels = beating_heart(frames=3, slices=1, size=32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write_movie(cine, Path(folder, "heart.gif"), labels)]
    ['heart.gif']
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        msg = f"{path.name} cannot be written; a movie ends in {', '.join(SUFFIXES)}."
        raise MrgenError(msg)
    movie = _render(volume, labels, frames_per_second)
    if suffix == ".png":
        written = _write_png(movie, path)
    else:
        written = (path,)
        with saving(path) as draft:
            (_write_gif if suffix == ".gif" else _write_mp4)(movie, draft)
    write_sidecar(path, volume.provenance, overwrite=overwrite)
    return written


def montage(stack: Array) -> Array:
    """Lay the panels of ``(..., panel, y, x)`` side by side in a grid, as square as can be."""
    *lead, panels, height, width = stack.shape
    columns = min(panels, math.ceil(math.sqrt(panels * height / width)))
    rows = math.ceil(panels / columns)
    cell = (height + _GAP, width + _GAP)
    grid = np.zeros((*lead, rows * cell[0], columns * cell[1]), stack.dtype)
    for panel in range(panels):
        top, left = cell[0] * (panel // columns), cell[1] * (panel % columns)
        grid[..., top : top + height, left : left + width] = stack[..., panel, :, :]
    return grid[..., : rows * cell[0] - _GAP, : columns * cell[1] - _GAP]


def _render(volume: Volume, labels: Volume | None, rate: float | None) -> Movie:
    if volume.kind == "labels":
        volume, labels = volume.with_array(np.zeros_like(volume.array)), volume
    panels = _panels(volume)
    overlay = None if labels is None else np.broadcast_to(_panels(labels), panels.shape)
    window = contrast_limits(volume.array)
    frames: Iterator[Bytes] = (
        _frame(panels[frame], None if overlay is None else overlay[frame], window, volume.spacing)
        for frame in range(len(panels))
    )
    comment = _comment(volume.provenance) if volume.provenance else ""
    if volume.provenance and _is_marked(volume.provenance):
        frames = _marked(frames, 256 if overlay is None else 64)
    palette = _palette(overlay is not None)
    return Movie(frames, palette, _starts(volume, len(panels), rate), comment)


def png_text(provenance: Mapping[str, Any] | None) -> PngInfo:
    """Return the text for a PNG file that says of a generated image that it is one."""
    return _png_text(_comment(provenance) if provenance else "")


def _png_text(comment: str) -> PngInfo:
    text = PngInfo()
    if comment:
        text.add_text("Title", _MARK)
        text.add_text("Comment", comment)
    return text


def _comment(provenance: Mapping[str, Any]) -> str:
    """Say in a line that a model made what is shown, and which."""
    model = provenance.get("model")
    digest = str(model.get("sha256", ""))[:12] if isinstance(model, Mapping) else ""
    known = {
        "family": provenance.get("family"), "model": digest, "seed": provenance.get("seed"),
        "software": provenance.get("software"),
    }  # fmt: skip
    facts = ", ".join(f"{key} {value}" for key, value in known.items() if value not in (None, ""))
    return f"{_MARK}. {NOTICE} {facts}".strip()


def _is_marked(provenance: Mapping[str, Any]) -> bool:
    settings = provenance.get("configuration")
    return not isinstance(settings, Mapping) or settings.get("mark_synthetic", True) is not False


def _marked(frames: Iterator[Bytes], greys: int) -> Iterator[Bytes]:
    """Write the word on black into the lower left corner of frames, in the greys of the palette."""
    label: Bytes | None = None
    for frame in frames:
        if label is None:
            size = max(12, round(min(frame.shape) * _MARK_HEIGHT))
            font = ImageFont.load_default(size)
            left, top, right, bottom = (round(side) for side in font.getbbox(_MARK))
            pad = size // 4
            picture = Image.new("L", (right - left + 2 * pad, bottom - top + 2 * pad))
            ImageDraw.Draw(picture).text((pad - left, pad - top), _MARK, fill=255, font=font)
            label = np.rint(np.asarray(picture) * ((greys - 1) / 255)).astype(np.uint8)
        height, width = (min(a, b) for a, b in zip(frame.shape, label.shape, strict=True))
        frame[-height:, :width] = label[:height, :width]
        yield frame


def _panels(volume: Volume) -> Array:
    """Return the volume as ``(frame, panel, y, x)``; without frames, each slice is one."""
    *_, height, width = volume.array.shape
    if "t" in volume.axes:
        frames_first = np.moveaxis(volume.array, volume.axes.index("t"), 0)
        return frames_first.reshape(volume.size("t"), -1, height, width)
    return np.moveaxis(volume.array, -3, 0).reshape(volume.size("z"), -1, height, width)


def _frame(
    panels: Array,
    labels: Array | None,
    window: tuple[float, float],
    spacing: tuple[float, float, float],
) -> Bytes:
    low, high = window
    levels = 256 if labels is None else 64
    grey = np.nan_to_num((montage(panels).astype(np.float32) - low) / (high - low)) * (levels - 1)
    grey = _square(grey.clip(0, levels - 1), spacing, Image.Resampling.BICUBIC)
    indices: Bytes = np.rint(grey).clip(0, levels - 1).astype(np.uint8)
    if labels is None:
        return indices
    colour = np.where(labels > 0, (labels - 1) % len(_LABEL_COLOURS) + 1, 0).astype(np.float32)
    colours = _square(montage(colour), spacing, Image.Resampling.NEAREST)
    return indices + (levels * colours).astype(np.uint8)


def _square(
    picture: Array, spacing: tuple[float, float, float], method: Image.Resampling
) -> npt.NDArray[np.float32]:
    """Resize so that pixels are square and large enough to be seen."""
    _, dy, dx = spacing
    height, width = picture.shape[0] * dy / min(dy, dx), picture.shape[1] * dx / min(dy, dx)
    zoom = max(1, math.ceil(_SMALLEST / min(height, width)))
    size = (round(width * zoom), round(height * zoom))
    return np.asarray(Image.fromarray(picture.astype(np.float32)).resize(size, method))


def _palette(with_labels: bool) -> Bytes:
    """Return 256 greys, or 64 of them bare and under each label's colour."""
    if not with_labels:
        return np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    greys = np.repeat(np.linspace(0, 255, 64)[:, None], 3, axis=1)
    tinted = [greys * (1 - _LABEL_SHARE) + np.array(c) * _LABEL_SHARE for c in _LABEL_COLOURS]
    palette: Bytes = np.rint(np.concatenate([greys, *tinted])).astype(np.uint8)
    return palette


def _starts(volume: Volume, frames: int, rate: float | None) -> tuple[float, ...]:
    if rate is None and volume.times is not None and volume.frame_interval:
        first = volume.times[0]
        starts = [time - first for time in volume.times]
        return (*starts, starts[-1] + volume.frame_interval)
    return tuple(frame / (rate or FRAMES_PER_SECOND) for frame in range(frames + 1))


def _write_gif(movie: Movie, path: Path) -> None:
    """Write a looping GIF; rounding to hundredths of a second does not add up."""
    ticks = [round(start * 100) for start in movie.starts]
    durations = [10 * max(_GIF_FASTEST, b - a) for a, b in pairwise(ticks)]
    pictures = movie.pictures()
    next(pictures).save(
        path,
        "GIF",
        save_all=True,
        append_images=pictures,
        duration=durations,
        loop=0,
        optimize=False,
        comment=movie.comment.encode() or None,
    )


def _write_mp4(movie: Movie, path: Path) -> None:
    """Write H.264 where PyAV has it, else MPEG-4; a player wants even sides and 4:2:0."""
    import av

    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    seconds = movie.starts[-1] / (len(movie.starts) - 1)
    with av.open(str(path), "w", format="mp4") as container:
        if movie.comment:
            container.metadata.update(title=_MARK, comment=movie.comment)
        rate = Fraction(1 / seconds).limit_denominator(1000)
        stream = cast("av.VideoStream", container.add_stream(codec, rate=rate))
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for number, frame in enumerate(movie.frames):
            height, width = frame.shape
            even = np.pad(frame, ((0, height % 2), (0, width % 2)), mode="edge")
            if number == 0:
                stream.height, stream.width = even.shape
            container.mux(stream.encode(av.VideoFrame.from_ndarray(movie.palette[even], "rgb24")))
        container.mux(stream.encode())


def _write_png(movie: Movie, path: Path) -> tuple[Path, ...]:
    """Write one file a frame, numbered; a single frame keeps the name."""
    count = len(movie.starts) - 1
    digits = max(3, len(str(count - 1)))
    written = []
    for number, picture in enumerate(movie.pictures()):
        name = path.name if count == 1 else f"{path.stem}_{number:0{digits}d}.png"
        with saving(path.with_name(name)) as draft:
            picture.save(draft, "PNG", pnginfo=_png_text(movie.comment))
        written.append(path.with_name(name))
    return tuple(written)
