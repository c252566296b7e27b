"""``run`` on the command line: what is printed, what is refused, how it ends."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from napari_mrgen.cli.main import MISTAKE, main

JOBS = """
jobs:
  - {name: one, family: dcgan, preset: tiny, inputs: {slices: nowhere}}
  - {name: two, family: dcgan, preset: quick, inputs: {slices: nowhere}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.yaml"
    path.write_text(JOBS)
    return path


def test_a_summary_closes_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "results").mkdir()
    assert main(["run", str(file)]) == 1
    said = capsys.readouterr()
    assert "one (train), job 1 of 2" in said.out
    assert said.out.splitlines()[-2].split()[:3] == ["one", "train", "failed"]
    assert said.out.splitlines()[-1].split()[:3] == ["two", "train", "failed"]
    assert "napari-mrgen: two: " in said.err
    with (file.parent / "results" / "summary.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["state"] for row in rows] == ["failed", "failed"]


def test_a_table_that_cannot_be_kept_is_printed_all_the_same(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file.parent / "results" / "summary.csv").mkdir(parents=True)
    assert main(["run", str(file)]) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].split()[:3] == ["two", "train", "failed"]
    assert "summary.csv cannot be written" in said.err.splitlines()[-1]


def test_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(file), "--json", "--only", "two"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"event": "JobBegan", "job": "two", "of": 1}
    assert lines[-1]["event"] == "Summary"
    assert [job["state"] for job in lines[-1]["jobs"]] == ["failed"]
    assert not (file.parent / "results").exists()


def test_a_check_finds_paths_that_lead_nowhere(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(file), "--check"]) == 2
    assert "there is no" in capsys.readouterr().err


def test_a_check_does_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "nowhere").mkdir()
    assert main(["run", str(file), "--check"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["run", str(file), "--check", "--json"]) == 0
    job = json.loads(capsys.readouterr().out.splitlines()[1])
    assert job["inputs"] == {"slices": [str(file.parent / "nowhere")]}
    assert sorted(file.parent.iterdir()) == [file, file.parent / "nowhere"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere.yaml",), "cannot be read"),
        (("FILE", "--only", "twoo"), "did you mean 'two'?"),
        ((), "JOBS.yaml"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...], sentence: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *(str(file) if a == "FILE" else a for a in arguments)]) == MISTAKE
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_several_processes_are_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["run", str(file)]) == MISTAKE
    assert "torchrun" in capsys.readouterr().err
