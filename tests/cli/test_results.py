"""Commands that use a model or describe something: what they print, and what they leave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_mrgen import families
from napari_mrgen.cli import demo
from napari_mrgen.cli.main import MISTAKE, OK, main
from napari_mrgen.io import nifti
from napari_mrgen.volume import Volume
from tests.conftest import Program
from tests.service.conftest import write_model


def documents(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_generate_saves_with_its_provenance(
    trained: Path, hearts: Path, tmp_path: Path, program: Program
) -> None:
    out = tmp_path / "next.nii.gz"
    done = program(
        "generate", trained, "--input", f"cine={hearts / 'heart-1.nii.gz'}", "--out", out,
        "--set", "frames=4", "--set", "samples=2", "--seed", "3", "--json",
    )  # fmt: skip
    assert done.returncode == OK, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert results[0]["paths"] == [str(out)]
    assert results[0]["shape"][:2] == [2, 4]
    assert all(Path(path).exists() for result in results for path in result["paths"])
    assert json.loads((tmp_path / "next.json").read_text())["seed"] == 3
    assert nifti.read(out).axes == "ntzyx"


def test_a_name_that_speaks_of_another_contrast_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model("cyclegan", tmp_path / "model.safetensors")
    head = tmp_path / "a_T2.nii"
    values = np.random.default_rng(0).random((20, 20, 20), np.float32)
    nifti.write(Volume(values, "zyx", np.eye(4)), head)
    for role, said in (("t1", "a_T2.nii is T2w by its name, but given as T1w"), ("t2", "")):
        given = ["--input", f"{role}={head}", "--out", str(tmp_path / f"{role}.nii")]
        assert main(["generate", str(model), *given]) == OK
        assert capsys.readouterr().err.removeprefix("napari-mrgen: ").strip(".\n") == said


def test_generate_makes_movies(
    trained: Path, hearts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["generate", str(trained), "--input", f"cine={hearts / 'heart-1.nii.gz'}"]
    assert main([*given, "--set", "frames=3", "--out", str(tmp_path / "next.gif")]) == OK
    assert "next.gif" in capsys.readouterr().out
    assert (tmp_path / "next.gif").read_bytes().startswith(b"GIF")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--out", "OUT.dcm"), "must end in one of"),
        (("--out", "OUT.nii", "--set", "frame=3"), "did you mean 'frames'?"),
        (("--out", "OUT.nii", "--seed", "x"), "seed"),
        (("--out", "OUT.nii", "--input", "cine=nowhere.nii"), "takes one path here"),
        (("--out", "/nowhere/x.nii"), "does not exist"),
        (("--out", "OUT.nii", "--device", "cuda:9"), "cuda:9"),
    ],
)
def test_generate_names_mistakes(
    arguments: tuple[str, ...],
    sentence: str,
    trained: Path,
    hearts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [argument.replace("OUT", str(tmp_path / "out")) for argument in arguments]
    cine = f"cine={hearts / 'heart-1.nii.gz'}"
    assert main(["generate", str(trained), "--input", cine, *given]) == MISTAKE
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_evaluate_writes_a_report(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    assert main(["evaluate", str(trained), "--out", str(report), "--device", "cpu"]) == OK
    assert "persistence" in capsys.readouterr().out
    written = json.loads(report.read_text())
    assert {row["method"] for row in written["rows"]} >= {"persistence"}
    assert {score["subject"] for score in written["subjects"]} < {"heart-1", "heart-2", "heart-3"}
    assert main(["evaluate", str(trained), "--out", str(report)]) == MISTAKE


def test_families_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["families", "--json"]) == OK
    (pages,) = documents(capsys)
    assert [page["name"] for page in pages] == list(families.names())  # type: ignore[index]
    for name in families.names():
        assert main(["families", name]) == OK
        page = capsys.readouterr().out
        assert all(field in page for field in families.get(name).train_config.model_fields)


def test_devices_always_have_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == OK
    (found,) = documents(capsys)
    assert found[0]["name"] == "cpu"  # type: ignore[index]
    assert main(["devices"]) == OK
    assert " free " in capsys.readouterr().out


def test_info_of_everything(
    trained: Path, hearts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, kind in (
        (hearts, "folder"),
        (hearts / "heart-1.nii.gz", "scan"),
        (trained, "run"),
        (trained / "model.safetensors", "model"),
    ):
        assert main(["info", str(path), "--json"]) == OK
        assert documents(capsys)[0]["kind"] == kind
        assert main(["info", str(path)]) == OK
        assert str(path) in capsys.readouterr().out


@pytest.mark.parametrize(("display", "expected"), [("", False), (":7", True)])
def test_the_demo_knows_whether_there_is_a_display(
    display: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert demo.has_display() is expected
