"""Every script in docs/examples runs as it stands, and fits on one screen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Program

FOLDER = Path(__file__).parents[1] / "docs" / "examples"
MOST_LINES = 40

Example = Callable[..., str]


@pytest.fixture
def example(tmp_path: Path) -> Example:
    def run(name: str, *arguments: Path) -> str:
        done = subprocess.run(
            [sys.executable, FOLDER / f"{name}.py", *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_no_example_is_forgotten() -> None:
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in FOLDER.glob("*.py")} <= tests


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_it_fits_on_a_screen(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= MOST_LINES


def test_predict_a_cine(example: Example, trained: Path, hearts: Path, tmp_path: Path) -> None:
    out = tmp_path / "next.nii.gz"
    said = example("predict_a_cine", trained, hearts / "heart-1.nii.gz", out)
    assert "tzyx (10, 2, 40, 40)" in said
    assert out.exists()


def test_train_from_python(example: Example, hearts: Path, tmp_path: Path) -> None:
    said = example("train_from_python", hearts, tmp_path / "run")
    assert "persistence" in said
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_nifti_without_loss(example: Example, hearts: Path, tmp_path: Path) -> None:
    said = example("nifti_without_loss", hearts / "heart-1.nii.gz", tmp_path / "copy.nii.gz")
    assert "Same voxels: True" in said
    assert "Same place: True" in said


def test_watch_a_run(example: Example, trained: Path) -> None:
    said = example("watch_a_run", trained)
    assert said.startswith("This run is finished")
    assert "preview:" in said


def test_jobs(program: Program, hearts: Path, tmp_path: Path) -> None:
    shutil.copy(FOLDER / "jobs.yaml", tmp_path)
    shutil.copytree(hearts, tmp_path / "hearts")
    done = program("run", tmp_path / "jobs.yaml")
    assert done.returncode == 0, done.stderr
    states = [line.split()[:3] for line in done.stdout.splitlines()[-3:]]
    assert states == [
        ["small", "train", "finished"],
        ["large", "train_and_predict", "finished"],
        ["another-heart", "predict", "finished"],
    ]
    results = tmp_path / "results"
    assert (results / "summary.csv").exists()
    assert (results / "large" / "predictions" / "result.h5").exists()
