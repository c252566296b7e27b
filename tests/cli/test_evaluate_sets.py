"""``evaluate`` of a family that draws independent slices: report, table and figure."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import pytest

from napari_mrgen.cli.main import MISTAKE, OK, main
from napari_mrgen.io import nifti
from napari_mrgen.samples import brain
from tests.conftest import Program


@pytest.fixture(scope="module")
def drawer(tmp_path_factory: pytest.TempPathFactory, program: Program) -> Path:
    """A run that draws slices, trained in seconds on five phantoms, two of them held out."""
    folder = tmp_path_factory.mktemp("drawer")
    for seed in range(5):
        nifti.write(brain(seed)[0], folder / f"brain-{seed}.nii.gz")
    done = program(
        "train", "dcgan", "--preset", "tiny", "--set", "held_out=0.4",
        "--input", f"slices={folder}", "--out", folder / "run", "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == OK, done.stderr
    return folder / "run"


def test_report_table_and_figure_agree(
    drawer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, figure = tmp_path / "report.json", tmp_path / "figure.png"
    given = ["evaluate", str(drawer), "--device", "cpu"]
    assert main([*given, "--out", str(report), "--figure", str(figure)]) == OK
    table = capsys.readouterr().out
    methods = [row["method"] for row in json.loads(report.read_text())["rows"]]
    assert {"real, trained on", "mean image", "blurred real"} < set(methods)
    assert all(
        word in table for word in (*methods, "KID x1000", "near-copies", "all held-out slices")
    )
    assert max(map(len, table.splitlines())) <= 100
    assert iio.imread(figure).std() > 10
    assert main([*given, "--figure", str(figure)]) == MISTAKE


def test_a_figure_is_a_png(
    drawer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(drawer), "--figure", str(tmp_path / "figure.jpg")]) == MISTAKE
    assert "written as .png" in capsys.readouterr().err
