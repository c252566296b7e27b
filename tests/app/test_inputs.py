from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from napari_mrgen import families
from napari_mrgen.app.inputs import find_all, gather, own_split
from napari_mrgen.data.inputs import Split
from napari_mrgen.engine.family import Input
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference
from napari_mrgen.io.naming import set_of
from napari_mrgen.volume import Volume

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
    path = Path("data", *parts)
    return Reference(path, parts[-1], set=set_of(path, Path("data")))


@pytest.mark.parametrize(
    ("scans", "split"),
    [
        ([scan("png_train", "a"), scan("png_test", "b")], Split(("a",), ("b",))),
        ([scan("train", "a"), scan("validate", "b"), scan("test", "c")], Split(("a",), ("c",))),
        ([scan("Train", "t1", "a"), scan("validation", "b")], Split(("a",), ("b",))),
        ([scan("train", "a"), scan("test", "a")], None),
        ([scan("train", "a"), scan("test", "b"), scan("c")], None),
        ([scan("train", "a"), scan("train", "b")], None),
        ([scan("trainA", "a"), scan("trainB", "a"), scan("testA", "b")], Split(("a",), ("b",))),
        ([scan("training", "a"), scan("testing", "b")], Split(("a",), ("b",))),
        ([scan("imagesTr", "a"), scan("imagesTs", "b")], Split(("a",), ("b",))),
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


# ---- two contrasts of one head ------------------------------------------------------------------

TRANSLATOR = families.get("cyclegan")
CONTRASTS = TRANSLATOR.train_inputs


def volumes(root: Path, *names: str) -> Path:
    for name in names:
        path = root / f"{name}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.random.default_rng(zlib.crc32(name.encode())).integers(0, 99, (2, 3, 4))
        nifti.write(Volume(array.astype(np.int16), "zyx", np.eye(4)), path)
    return root


def test_pairs_become_the_roles_that_they_hold(tmp_path: Path) -> None:
    volumes(tmp_path, "a_T1", "a_T2", "a_mask", "b_T1", "b_T2", "b_lesion")
    inputs = gather(TRANSLATOR, {"pairs": [tmp_path]}, CONFIG)
    names = {role: [s.path.stem for s in scans] for role, scans in inputs.references.items()}
    assert names == {"t1": ["a_T1", "b_T1"], "t2": ["a_T2", "b_T2"], "mask": ["a_mask"]}
    assert sorted((*inputs.split.train, *inputs.split.test)) == ["a", "b"]


def test_contrasts_of_two_folders_have_the_subjects_in_common(tmp_path: Path) -> None:
    volumes(tmp_path, "one/a_T1w_brain", "one/b_T1w_brain", "two/a_T2w", "two/b_T2w", "m/a_mask")
    paths = {"t1": [tmp_path / "one"], "t2": [tmp_path / "two"], "mask": [tmp_path / "m"]}
    found = find_all(CONTRASTS, paths)
    assert [scan.subject for scan in found["t1"]] == [scan.subject for scan in found["t2"]]
    assert [mask.subject for mask in found["mask"]] == ["a"]


def test_pairs_and_single_contrasts_add_up(tmp_path: Path) -> None:
    volumes(tmp_path, "pairs/a_T1", "pairs/a_T2", "more/b_T1")
    found = find_all(CONTRASTS, {"pairs": [tmp_path / "pairs"], "t1": [tmp_path / "more"]})
    assert sorted(scan.subject for scan in found["t1"]) == ["a", "b"]


def test_both_contrasts_are_needed(tmp_path: Path) -> None:
    volumes(tmp_path, "a_T1", "b_T1")
    with pytest.raises(MrgenError, match="no scan for T2w"):
        gather(TRANSLATOR, {"pairs": [tmp_path]}, CONFIG)
    with pytest.raises(MrgenError, match="no scan for T1w and T2w"):
        gather(TRANSLATOR, {}, CONFIG)


def test_who_is_held_out_has_both_contrasts(tmp_path: Path) -> None:
    volumes(tmp_path, "a_T1", "a_T2", "b_T1", "b_T2", *(f"single{n}_T1" for n in range(20)))
    for seed in range(5):
        config = CONFIG.with_values({"seed": seed})
        split = gather(TRANSLATOR, {"pairs": [tmp_path]}, config).split
        assert set(split.test) < {"a", "b"}
        assert len(split.train) == 21


def test_of_scans_without_a_partner_each_kind_is_left_to_train_on(tmp_path: Path) -> None:
    volumes(tmp_path, "a_T1", *(f"b{n}_T2" for n in range(3)))
    for seed in range(12):
        inputs = gather(TRANSLATOR, {"pairs": [tmp_path]}, CONFIG.with_values({"seed": seed}))
        assert inputs.train("t1")
        assert inputs.train("t2")
        assert inputs.split.test


def test_the_folders_of_two_domains_are_a_split(tmp_path: Path) -> None:
    volumes(tmp_path, "trainA/x", "trainA/y", "trainB/x", "trainB/y", "testA/z", "testB/z")
    split = gather(TRANSLATOR, {"pairs": [tmp_path]}, CONFIG).split
    assert split == Split(("x", "y"), ("z",))
