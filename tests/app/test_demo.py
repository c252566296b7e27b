"""The demo's parts; the whole of it is minutes and is tried by `make demo`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from napari_mrgen.app import demo
from napari_mrgen.app.plots.cine import Comparison, plot_cine


def test_the_settings_fit_the_family() -> None:
    assert demo.config().stages == ("autoencoder", "gan")


def test_the_truth_goes_on_where_the_cine_ends(tmp_path: Path) -> None:
    files = demo.Demo(tmp_path)
    demo.make_hearts(files)
    assert len(list(files.hearts.glob("*.nii.gz"))) == demo.PATIENTS
    nothing = np.zeros((45, 4, 96, 96), np.float32)
    comparison = demo.compare(files, nothing)
    one_beat_before = comparison.psnr_of(np.concatenate([comparison.seen] * 3)[:45])
    last_frame = comparison.psnr()["Last frame repeated"]
    assert one_beat_before.min() > 25
    assert last_frame.min() < 18


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).random((12, 3, 20, 20), np.float32)
    plot_cine(Comparison(frames, frames + 0.1, frames[:5] - 0.1), tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.size == (1430, 1012)
