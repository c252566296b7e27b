"""What ``import napari_mrgen as mrgen`` offers does what the command line does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import napari_mrgen as mrgen
from napari_mrgen.errors import MrgenError


def test_every_name_of_it_is_there() -> None:
    assert len(mrgen.__all__) == 8
    assert all(hasattr(mrgen, name) for name in mrgen.__all__)
    assert set(mrgen.__all__) <= set(dir(mrgen))
    with pytest.raises(AttributeError, match="shout"):
        _ = mrgen.shout  # type: ignore[attr-defined]


def test_the_types_name_what_is_there() -> None:
    stub = Path(mrgen.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    assert all(f" {name} as {name}\n" in stub for name in mrgen.__all__)


def test_a_model_predicts_from_a_path_or_a_volume(trained: Path, hearts: Path) -> None:
    model = mrgen.load(trained, device="cpu")
    cine = mrgen.read(hearts / "heart-1.nii.gz")
    future = model.generate(cine=cine, frames=3)
    assert future.axes == "tzyx"
    assert len(future.array) == 3
    again = model.generate(cine=str(hearts / "heart-1.nii.gz"), frames=3)
    np.testing.assert_array_equal(future.array, again.array)
    with pytest.raises(MrgenError, match="frame"):
        model.generate(cine=cine, framse=3)


def test_a_model_is_evaluated(trained: Path, hearts: Path) -> None:
    board = mrgen.evaluate(trained, cine=hearts, everyone=True, device="cpu")
    assert "persistence" in [row.method for row in board.rows]


def test_mistakes_are_found_before_a_folder_is_made(hearts: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(MrgenError, match="missing"):
        mrgen.train("frame_prediction", "tiny", out=run)
    with pytest.raises(MrgenError, match="learning_rate"):
        mrgen.train("frame_prediction", "tiny", cine=hearts, out=run, learning_rat=1.0)
    with pytest.raises(MrgenError):
        mrgen.resume(run)
    assert not run.exists()


def test_a_folder_is_read_where_it_holds_one_scan(hearts: Path) -> None:
    with pytest.raises(MrgenError, match="one scan"):
        mrgen.read(hearts)
