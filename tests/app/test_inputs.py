from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from napari_mrgen import families
from napari_mrgen.app.inputs import find_all, gather, own_split
from napari_mrgen.data.split import Split
from napari_mrgen.engine.family import Input
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import Reference

FAMILY = families.get("frame_prediction")
CONFIG = FAMILY.preset("tiny")


def test_subjects_are_found_and_split(hearts: Path) -> None:
    inputs = gather(FAMILY, {"cine": [hearts]}, CONFIG)
    split = inputs.split
    assert sorted((*split.train, *split.test)) == ["heart-1", "heart-2", "heart-3"]
    assert len(inputs.train("cine")) == len(split.train)


def test_the_same_seed_splits_the_same(hearts: Path) -> None:
    files = sorted(hearts.glob("*.nii.gz"))
    folder, reverse = (
        gather(FAMILY, {"cine": given}, CONFIG).split for given in ([hearts], files[::-1])
    )
    assert folder == reverse


def test_a_file_given_twice_counts_once(hearts: Path) -> None:
    file = hearts / "heart-1.nii.gz"
    assert len(find_all(FAMILY.train_inputs, {"cine": [file, hearts]})["cine"]) == 3


def test_a_split_file_decides(hearts: Path, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["heart-2"], "test": ["heart-1"]}))
    inputs = gather(FAMILY, {"cine": [hearts]}, CONFIG, path)
    assert [scan.subject for scan in inputs.train("cine")] == ["heart-2"]
    assert [scan.subject for scan in inputs.test("cine")] == ["heart-1"]


def test_a_split_of_other_subjects_is_refused(hearts: Path, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["someone"], "test": []}))
    with pytest.raises(MrgenError, match="trains on none of the subjects found"):
        gather(FAMILY, {"cine": [hearts]}, CONFIG, path)


def test_roles_are_checked(hearts: Path) -> None:
    one = (Input("cine", "Cine", ("tzyx",)), Input("mask", "Mask", ("zyx",), optional=True))
    files = sorted(hearts.glob("*.nii.gz"))
    with pytest.raises(MrgenError, match="did you mean 'cine'"):
        find_all(one, {"cin": files})
    with pytest.raises(MrgenError, match="'cine' is missing"):
        find_all(one, {"mask": files})
    with pytest.raises(MrgenError, match="takes one path, got 3"):
        find_all(one, {"cine": files})


def scan(*parts: str) -> Reference:
    return Reference(Path("data", *parts), parts[-1])


@pytest.mark.parametrize(
    ("scans", "split"),
    [
        ([scan("png_train", "a"), scan("png_test", "b")], Split(("a",), ("b",))),
        ([scan("train", "a"), scan("validate", "b"), scan("test", "c")], Split(("a",), ("c",))),
        ([scan("Train", "t1", "a"), scan("validation", "b")], Split(("a",), ("b",))),
        ([scan("train", "a"), scan("test", "a")], None),
        ([scan("train", "a"), scan("test", "b"), scan("c")], None),
        ([scan("train", "a"), scan("train", "b")], None),
        ([scan("training", "a"), scan("testing", "b")], None),
        ([scan("a"), scan("b")], None),
    ],
)
def test_the_split_in_which_a_data_set_comes(scans: list[Reference], split: Split | None) -> None:
    assert own_split(scans) == split


def test_the_folders_of_a_data_set_decide_unless_a_file_does(hearts: Path, tmp_path: Path) -> None:
    for number, folder in enumerate(("train", "test", "test"), 1):
        (tmp_path / folder).mkdir(exist_ok=True)
        shutil.copy(hearts / f"heart-{number}.nii.gz", tmp_path / folder)
    split = gather(FAMILY, {"cine": [tmp_path]}, CONFIG).split
    assert (split.train, split.test) == (("heart-1",), ("heart-2", "heart-3"))
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["heart-2"], "test": ["heart-1"]}))
    assert gather(FAMILY, {"cine": [tmp_path]}, CONFIG, path).split.train == ("heart-2",)
