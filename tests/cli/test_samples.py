"""Samples from the command line: into a file, into a folder, and stopped on the way."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from napari_mrgen.cli.main import MISTAKE, OK, main
from napari_mrgen.io import nifti
from napari_mrgen.samples import brain
from tests.conftest import Program


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, program: Program) -> Path:
    """A tiny generator of slices, trained by the program."""
    folder = tmp_path_factory.mktemp("slices")
    (folder / "brains").mkdir()
    for seed in range(3):
        nifti.write(brain(seed)[0], folder / "brains" / f"brain-{seed}.nii.gz")
    done = program(
        "train", "dcgan", "--preset", "tiny", "--input", f"slices={folder / 'brains'}",
        "--out", folder / "run", "--device", "cpu", "--set", "steps=4",
    )  # fmt: skip
    assert done.returncode == OK, done.stderr
    return folder / "run"


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "samples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_file_holds_all_samples(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "samples.nii.gz"
    assert main(["generate", str(model), "--set", "samples=70", "--out", str(out)]) == OK
    volume = nifti.read(out)
    assert volume.axes == "nzyx"
    assert volume.array.shape[:2] == (70, 1)


def test_a_folder_gets_a_file_each_and_a_table(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "samples"
    given = ["generate", str(model), "--set", "samples=130", "--set", "sex=F", "--out", str(out)]
    assert main([*given, "--json"]) == OK
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["samples"] for line in told] == [64, 128, 130]
    assert {row["file"] for row in rows_of(out)} == {path.name for path in out.glob("*.png")}
    assert {row["sex"] for row in rows_of(out)} == {"F"}
    assert json.loads((out / "samples.json").read_text())["synthetic"] is True
    assert main(given) == MISTAKE
    assert "not empty" in capsys.readouterr().err


def test_an_input_that_it_does_not_take_is_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["generate", str(model), "--input", "image=x.nii", "--out", str(tmp_path / "x.nii")]
    assert main(given) == MISTAKE
    assert "'image'" in capsys.readouterr().err


def test_ctrl_c_leaves_a_whole_table(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "samples"
    command = [
        sys.executable, "-m", "napari_mrgen", "generate", model,
        "--set", "samples=100000", "--out", out, "--json",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for _ in range(2):
            assert json.loads(process.stdout.readline())["of"] == 100_000
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    rows = rows_of(out)
    assert 128 <= len(rows) < 100_000
    assert {row["file"] for row in rows} == {path.name for path in out.glob("*.png")}
    with Image.open(out / rows[-1]["file"]) as last:
        assert last.size == (64, 64)
