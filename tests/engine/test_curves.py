from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from napari_mrgen.engine.curves import draw_curves, read_curves

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
    draw_curves(read_curves(table, "gan"), "GAN", path)
    with Image.open(path) as picture:
        assert picture.width >= 1000
        assert len(set(picture.convert("RGB").get_flattened_data())) > 20


def test_without_curves_there_is_no_figure(tmp_path: Path) -> None:
    draw_curves({}, "GAN", tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())
