"""Movies: the right frames at the right time, square pixels, one window for all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.movies import montage, write_movie
from napari_mrgen.samples import beating_heart, brain
from napari_mrgen.volume import Volume

CINE, LABELS = beating_heart(frames=6, slices=3, size=48)
assert CINE.cardiac_cycle is not None
CYCLE = CINE.cardiac_cycle.duration


def gif(path: Path) -> tuple[list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]], list[int]]:
    """Return the frames in RGB, and how long each one stands, in ms."""
    frames, durations = [], []
    with Image.open(path) as movie:
        for number in range(getattr(movie, "n_frames", 1)):
            movie.seek(number)
            frames.append(np.asarray(movie.convert("RGB")))
            durations.append(movie.info["duration"])
    return frames, durations


def flat(values: list[int], spacing: tuple[float, float] = (1, 1)) -> Volume:
    """Return a cine of uniform frames with these values."""
    array = np.ones((len(values), 1, 8, 12), np.float32) * np.array(values)[:, None, None, None]
    affine = np.diag([8.0, *spacing, 1])
    return Volume(array, "tzyx", affine)


def test_gif_lasts_one_heart_beat(tmp_path: Path) -> None:
    assert write_movie(CINE, tmp_path / "a.gif") == (tmp_path / "a.gif",)
    frames, durations = gif(tmp_path / "a.gif")
    assert len(frames) == 6
    assert sum(durations) / 1000 == pytest.approx(CYCLE, abs=0.01)


def test_brightness_is_not_fitted_frame_by_frame(tmp_path: Path) -> None:
    write_movie(flat([0, 50, 100, 25, 100]), tmp_path / "a.gif")
    frames, _ = gif(tmp_path / "a.gif")
    levels = [int(frame.mean().round()) for frame in frames]
    assert levels == pytest.approx([0, 128, 255, 64, 255], abs=3)


def test_without_times_twenty_frames_a_second(tmp_path: Path) -> None:
    write_movie(replace(CINE, times=None), tmp_path / "a.gif")
    assert gif(tmp_path / "a.gif")[1] == [50] * 6


def test_pixels_are_square(tmp_path: Path) -> None:
    write_movie(flat([1, 2], spacing=(3, 1)), tmp_path / "a.png")
    with Image.open(tmp_path / "a_000.png") as picture:
        assert picture.height / picture.width == pytest.approx(8 * 3 / 12, rel=0.02)


def test_mp4_is_h264_for_every_player(tmp_path: Path) -> None:
    odd = CINE.with_array(CINE.array[..., :47, :45])
    write_movie(
        replace(odd, times=CINE.times),
        tmp_path / "a.mp4",
        LABELS.with_array(LABELS.array[..., :47, :45]),
    )
    with av.open(str(tmp_path / "a.mp4")) as movie:
        stream = movie.streams.video[0]
        assert stream.codec_context.name in ("h264", "mpeg4")
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.width % 2 == stream.height % 2 == 0
        frames = list(movie.decode(stream))
        assert len(frames) == 6
        assert float(stream.average_rate or 0) == pytest.approx(6 / CYCLE, rel=0.01)


def test_labels_are_drawn_in_their_colours(tmp_path: Path) -> None:
    write_movie(CINE, tmp_path / "plain.gif")
    write_movie(CINE, tmp_path / "drawn.gif", LABELS)
    write_movie(LABELS, tmp_path / "alone.gif")
    plain, drawn, alone = (
        gif(tmp_path / f"{n}.gif")[0][0].astype(int) for n in ("plain", "drawn", "alone")
    )
    assert (plain.max(-1) - plain.min(-1)).max() == 0
    assert (drawn.max(-1) - drawn.min(-1)).max() > 50
    assert len(np.unique(alone.reshape(-1, 3), axis=0)) == 4


def test_a_volume_without_frames_is_run_through(tmp_path: Path) -> None:
    volume = brain()[0]
    few = volume.with_array(volume.array[::20])
    assert len(write_movie(few, tmp_path / "a.png")) == 5
    one = volume.with_array(volume.array[:1])
    assert write_movie(one, tmp_path / "b.png") == (tmp_path / "b.png",)


def test_samples_stand_side_by_side(tmp_path: Path) -> None:
    two = CINE.with_array(np.stack([CINE.array, CINE.array[::-1]]), "ntzyx", times=CINE.times)
    write_movie(two, tmp_path / "a.gif")
    assert len(gif(tmp_path / "a.gif")[0]) == 6


def test_montage_holds_every_panel_once() -> None:
    stack = np.arange(7)[:, None, None] + np.zeros((7, 4, 6), int) + 1
    grid = montage(stack)
    assert [int((grid == n).sum()) for n in range(1, 8)] == [24] * 7


def test_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MrgenError, match=r"\.gif, \.mp4, \.png"):
        write_movie(CINE, tmp_path / "a.avi")
    with pytest.raises(MrgenError, match="not saved"):
        write_movie(CINE, tmp_path / "nowhere" / "a.gif")
