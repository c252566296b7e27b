from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_mrgen.app.outputs import Outputs, check_new_run, check_run, extension, is_folder
from napari_mrgen.errors import MrgenError
from napari_mrgen.volume import Volume


def volume(name: str) -> Volume:
    return Volume(np.zeros((2, 3, 4), np.float32), "zyx", np.eye(4), name=name)


def test_the_first_result_gets_the_name_and_others_add_theirs(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path / "heart.nii.gz")
    for name in ("predicted", "Spread (SD)", "Spread (SD)", ""):
        outputs.save(volume(name))
    assert {path.name for path in tmp_path.iterdir()} == {
        "heart.nii.gz",
        "heart-spread-sd.nii.gz",
        "heart-spread-sd-2.nii.gz",
        "heart-result.nii.gz",
    }


def test_nothing_is_overwritten_unless_allowed(tmp_path: Path) -> None:
    path = tmp_path / "heart.nii"
    path.write_text("mine")
    with pytest.raises(MrgenError, match="exists already"):
        Outputs(path)
    assert path.read_text() == "mine"
    Outputs(path, overwrite=True).save(volume("new"))
    assert path.stat().st_size > 300


def test_a_later_result_goes_round_a_file_that_exists(tmp_path: Path) -> None:
    (tmp_path / "heart-spread.nii").write_text("mine")
    outputs = Outputs(tmp_path / "heart.nii")
    outputs.save(volume("first"))
    assert outputs.save(volume("spread")) == (tmp_path / "heart-spread-2.nii",)
    assert (tmp_path / "heart-spread.nii").read_text() == "mine"


@pytest.mark.parametrize("name", ["x.nii.gz", "x.NII", "x.gif", "x.mp4", "x.png"])
def test_known_extensions(name: str) -> None:
    assert name.lower().endswith(extension(Path(name)))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("x.dcm", "must end in one of"),
        ("nowhere/x.nii", "does not exist"),
        ("folder.nii", "is a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(
    name: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(MrgenError, match=sentence):
        Outputs(tmp_path / name)


def test_run_folders_are_told_apart(trained: Path, tmp_path: Path) -> None:
    check_run(trained)
    check_new_run(tmp_path / "deep" / "new")
    with pytest.raises(MrgenError, match="holds a run already"):
        check_new_run(trained)
    with pytest.raises(MrgenError, match="has no run in it"):
        check_run(tmp_path)


def test_a_name_without_an_extension_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "samples.d").mkdir()
    assert is_folder(tmp_path / "samples.d")
    assert is_folder(tmp_path / "samples")
    assert not is_folder(tmp_path / "samples.nii.gz")


@pytest.mark.parametrize(
    ("out", "there"),
    [
        ("z.nii.gz", "z.json"),
        ("z.nii", "z.json"),
        ("z.gif", "z.gif.json"),
        ("z.mp4", "z.mp4.json"),
        ("z.png", "z.png.json"),
        ("z.png", "z_000.png"),
    ],
)
def test_what_lies_beside_is_not_overwritten_either(out: str, there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text('{"RepetitionTime": 2.0}')
    with pytest.raises(MrgenError, match=f"{there} exists already"):
        Outputs(tmp_path / out)
    made = replace(volume("made"), provenance={"seed": 1})
    Outputs(tmp_path / out, overwrite=True).save(made)
    assert (tmp_path / there).read_bytes() != b'{"RepetitionTime": 2.0}'


def test_a_later_result_goes_round_json_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "heart-spread.json").write_text("{}")
    outputs = Outputs(tmp_path / "heart.nii")
    outputs.save(volume("first"))
    made = replace(volume("spread"), provenance={"seed": 1})
    assert outputs.save(made) == (tmp_path / "heart-spread-2.nii",)
    assert (tmp_path / "heart-spread.json").read_text() == "{}"
