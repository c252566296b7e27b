from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from napari_mrgen.app.evaluate import choose_inputs, evaluate, illustrate
from napari_mrgen.engine.run.folder import Run
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.samples import beating_heart


def subjects(model: Path, *paths: Path, **options: object) -> set[str]:
    given = {"cine": list(paths)} if paths else None
    inputs = choose_inputs(model, given, **options)  # type: ignore[arg-type]
    return {scan.subject for scan in inputs.test("cine")}


def test_only_unseen_subjects_are_scored(trained: Path, hearts: Path) -> None:
    split = Run(trained).inputs.split
    assert subjects(trained) == set(split.test)
    assert subjects(trained, hearts) == set(split.test)
    assert subjects(trained, hearts, everyone=True) == {*split.train, *split.test}


def test_what_was_trained_on_is_known_where_it_was_found(
    trained: Path, hearts: Path, tmp_path: Path
) -> None:
    split = Run(trained).inputs.split
    assert choose_inputs(trained, {"cine": [hearts]}).split == split
    assert choose_inputs(trained, {"cine": [hearts]}, everyone=True).split.train == ()
    shutil.copy(hearts / "heart-1.nii.gz", tmp_path / "other.nii.gz")
    assert choose_inputs(trained, {"cine": [tmp_path]}).train("cine") == ()


def test_new_subjects_are_all_scored(trained: Path, hearts: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("other-1", "other-2"), 8):
        cine, _ = beating_heart(number, frames=14, slices=2, size=40)
        nifti.write(cine, tmp_path / f"{name}.nii.gz")
    assert subjects(trained, tmp_path) == {"other-1", "other-2"}


def test_what_was_trained_on_stays_known_under_another_name(
    trained: Path, hearts: Path, tmp_path: Path
) -> None:
    seen = Run(trained).inputs.split.train[0]
    shutil.copy(hearts / f"{seen}.nii.gz", tmp_path / "other.nii.gz")
    with pytest.raises(MrgenError, match="trained on every subject found"):
        subjects(trained, tmp_path)


def test_trained_subjects_alone_are_refused(trained: Path, hearts: Path) -> None:
    seen = Run(trained).inputs.split.train[0]
    with pytest.raises(MrgenError, match="trained on every subject found"):
        subjects(trained, hearts / f"{seen}.nii.gz")


def test_a_model_without_its_run_needs_the_split(
    trained: Path, hearts: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.safetensors"
    shutil.copy(trained / "model.safetensors", model)
    with pytest.raises(MrgenError, match="not beside it"):
        subjects(model, hearts)
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["heart-1"], "test": []}))
    assert subjects(model, hearts, split_file=split) == {"heart-2", "heart-3"}


def test_it_repeats_the_scoreboard_of_the_run(trained: Path) -> None:
    kept = json.loads((trained / "scoreboard.json").read_text())["rows"]
    again = evaluate(trained, device="cpu")
    assert [row.method for row in again.rows] == [row["method"] for row in kept]
    for row, before in zip(again.rows, kept, strict=True):
        assert dict(row.mean) == pytest.approx(before["mean"], rel=1e-3, abs=1e-3)


def test_a_family_that_continues_its_input_has_nothing_to_show(trained: Path) -> None:
    with pytest.raises(MrgenError, match="nothing to show"):
        illustrate(trained, choose_inputs(trained), device="cpu")
