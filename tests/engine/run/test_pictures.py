from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit
from napari_mrgen.engine.run.pictures import (
    as_movie,
    picture,
    plot_curves,
    read_curves,
    save_movie,
    save_picture,
)
from napari_mrgen.volume import Volume
from tests.engine import toy


def volume(axes: str, *shape: int, spacing: tuple[float, float] = (1, 1), seed: int = 0) -> Volume:
    rng = np.random.default_rng(seed)
    affine = np.diag([spacing[1], spacing[0], 2.0, 1.0])[:, [2, 1, 0, 3]]
    return Volume(rng.random(shape, dtype=np.float32), axes, affine)


@pytest.mark.parametrize(
    ("axes", "shape", "size"),
    [
        ("zyx", (3, 20, 30), (20, 30)),
        ("tzyx", (5, 3, 20, 30), (20, 30)),
        ("nzyx", (4, 1, 20, 20), (41, 41)),
        ("ntzyx", (4, 5, 1, 20, 20), (41, 41)),
    ],
)
def test_any_volume_is_one_picture(
    axes: str, shape: tuple[int, ...], size: tuple[int, int]
) -> None:
    shown = picture(volume(axes, *shape))
    assert shown.shape == size
    assert shown.dtype == np.uint8
    assert shown.max() > 200 > 50 > shown.min()


def test_it_shows_the_last_frame_of_the_middle_slice() -> None:
    array = np.zeros((5, 3, 20, 30), np.float32)
    array[-1, 1, 5, 6] = 1
    shown = picture(Volume(array, "tzyx", np.eye(4)))
    assert np.unravel_index(shown.argmax(), shown.shape) == (5, 6)


def test_pixels_are_square_and_pictures_small() -> None:
    assert picture(volume("zyx", 1, 20, 30, spacing=(2, 1))).shape == (40, 30)
    assert max(picture(volume("zyx", 1, 600, 900)).shape) == 512


def test_an_album_becomes_a_movie(tmp_path: Path) -> None:
    pages = [tmp_path / f"{page}.png" for page in range(3)]
    for seed, page in enumerate(pages):
        save_picture(volume("zyx", 1, 20, 30, seed=seed), page)
    save_movie(pages, tmp_path / "movies" / "training.gif")
    with Image.open(tmp_path / "movies" / "training.gif") as movie:
        assert movie.n_frames == 3


def test_pictures_of_another_size_are_left_out(tmp_path: Path) -> None:
    pages = [tmp_path / f"{page}.png" for page in range(3)]
    for seed, height in enumerate((10, 20, 20)):
        save_picture(volume("zyx", 1, height, 30, seed=seed), pages[seed])
    save_movie(pages, tmp_path / "training.gif")
    with Image.open(tmp_path / "training.gif") as movie:
        assert movie.n_frames == 2


def test_one_picture_is_no_movie(tmp_path: Path) -> None:
    save_picture(volume("zyx", 1, 20, 30), tmp_path / "0.png")
    save_movie([tmp_path / "0.png"], tmp_path / "training.gif")
    assert not (tmp_path / "training.gif").exists()


def test_a_run_leaves_pictures_a_movie_and_curves(tmp_path: Path) -> None:
    config = toy.ToyConfig(preview_every=4)
    list(fit(toy.FAMILY, config, toy.inputs(tmp_path), tmp_path / "run", Control(), device="cpu"))
    for index, stage in enumerate(config.stages):
        pictures = list((tmp_path / "run" / "previews").glob(f"{index}-{stage}-*.png"))
        assert len(pictures) == 3
        with Image.open(tmp_path / "run" / "movies" / f"{stage}_training.gif") as movie:
            assert movie.n_frames == 3
        assert (tmp_path / "run" / "figures" / f"{stage}_curves.png").stat().st_size > 1000


def test_a_movie_has_all_volumes_of_a_preview_in_each_frame(tmp_path: Path) -> None:
    for step in range(2):
        for number in range(5):
            save_picture(volume("zyx", 1, 20, 30), tmp_path / f"0-stage-{step:08d}-{number}.png")
    movie = as_movie(sorted(tmp_path.glob("*-0.png")))
    assert movie is not None
    assert movie.array.shape == (2, 1, 2 * 20, 4 * 30)


def test_a_family_may_tell_the_window_of_its_pictures() -> None:
    array = np.full((1, 4, 4), 0.5, np.float32)
    shown = picture(Volume(array, "zyx", np.eye(4), window=(0.0, 1.0)))
    assert (shown == 127).all()


def test_a_high_picture_has_no_empty_place_beside_it() -> None:
    assert picture(volume("zyx", 1, 40, 20)).shape == (40, 20)


TABLE = """stage,step,name,value
gan,1,train/loss,2.0
other,1,train/loss,9.0
gan,2,train/loss,1.5
gan,2,held_out/SSIM,0.4
gan,2,train/loss,1.0
gan,1,held_out/SSIM,nan
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.csv"
    path.write_text(TABLE)
    return path


def test_curves_are_those_of_the_stage_and_the_later_figure_counts(table: Path) -> None:
    curves = read_curves(table, "gan")
    assert curves["train/loss"] == [(1, 2.0), (2, 1.0)]
    assert [step for step, _ in curves["held_out/SSIM"]] == [1, 2]


@pytest.mark.parametrize("torn", ["gan", "gan,3", "gan,3,held_out/PS", "gan,3,new,", "gan,x,new,1"])
def test_a_torn_row_is_passed_over(table: Path, torn: str) -> None:
    whole = read_curves(table, "gan")
    table.write_text(f"{TABLE}{torn}\nother,2,train/loss,8.0\n")
    assert set(read_curves(table, "gan")) == set(whole)
    assert read_curves(table, "other")["train/loss"] == [(1, 9.0), (2, 8.0)]


def test_a_figure_is_drawn(table: Path) -> None:
    path = table.parent / "figures" / "gan_curves.png"
    plot_curves(read_curves(table, "gan"), "GAN", path)
    with Image.open(path) as picture:
        assert picture.width >= 1000
        assert len(set(picture.convert("RGB").get_flattened_data())) > 20


def test_without_curves_there_is_no_figure(tmp_path: Path) -> None:
    plot_curves({}, "GAN", tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())
