"""Every file below the paths of a training has a row, with what becomes of it and why."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from napari_mrgen import families
from napari_mrgen.app.data_report import DataReport, report_data
from napari_mrgen.app.inputs import gather
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.samples import beating_heart
from napari_mrgen.volume import Volume

SLICES = families.get("dcgan")
CINES = families.get("frame_prediction")
PAIRS = families.get("cyclegan")


def head(seed: int, dtype: type = np.int16) -> Volume:
    array = np.random.default_rng(seed).integers(0, 900, (6, 8, 8))
    return Volume(array.astype(dtype), "zyx", np.eye(4))


def put(root: Path, *names: str) -> Path:
    for name in names:
        path = root / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nifti.write(head(zlib.crc32(name.encode())), path)
    return root


def report(root: Path, family: str = "dcgan", role: str = "slices", **how: object) -> DataReport:
    chosen = families.get(family)
    paths = {role: [root]}
    return report_data(chosen, paths, gather(chosen, paths, chosen.preset("tiny"), **how))  # type: ignore[arg-type]


def left_out(found: DataReport) -> dict[str, str]:
    return {one.path.name: one.why for one in found.left_out}


def test_every_file_has_a_row(tmp_path: Path) -> None:
    put(tmp_path, "sub-01_T1w", "sub-02_T1w", "sub-03_T1w", "sub-01_T1w_seg", "sub-02_probseg")
    put(tmp_path / "derivatives" / "x", "sub-01_desc-preproc_T1w")
    cine, _ = beating_heart(frames=4, slices=1, size=16)
    nifti.write(cine, tmp_path / "sub-01_bold.nii.gz")
    (tmp_path / "sub-04_T1w.nii.gz").symlink_to(".git/annex/objects/KEY")
    (tmp_path / "sub-05_T1w.nii.gz").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "sub-06_T1w.nii.gz").write_bytes(b"")
    whole = (tmp_path / "sub-01_T1w.nii.gz").read_bytes()
    (tmp_path / "sub-07_T1w.nii.gz").write_bytes(whole[: len(whole) // 2])
    nifti.write(head(0).with_array(np.zeros((6, 8, 8), np.int16)), tmp_path / "sub-08_T1w.nii.gz")
    found = report(tmp_path)
    files = {path.name for path in tmp_path.rglob("*.nii.gz")}
    assert {row.path.name for row in found.scans} | set(left_out(found)) == files
    assert {row.subject for row in found.scans} == {"sub-01", "sub-02", "sub-03"}
    for name, why in {
        "sub-01_T1w_seg": "label map of sub-01_T1w",
        "sub-02_probseg": "label map by its name",
        "sub-01_desc-preproc_T1w": "keeps this folder apart",
        "sub-01_bold": "the axes tzyx; zyx are needed",
        "sub-04_T1w": "git annex get",
        "sub-05_T1w": "git lfs pull",
        "sub-06_T1w": "is empty",
        "sub-07_T1w": "cut short",
        "sub-08_T1w": "one value everywhere",
    }.items():
        assert why in left_out(found)[f"{name}.nii.gz"], name


def test_in_json_it_is_plain(tmp_path: Path) -> None:
    put(tmp_path, "a_T1w", "b_T1w", "c_seg")
    facts = json.loads(json.dumps(report(tmp_path).facts(), default=str))
    assert set(facts) == {"scans", "left_out", "doubts"}
    assert {row["side"] for row in facts["scans"]} == {"train", "held_out"}
    assert all(row["why_subject"] for row in facts["scans"])


def test_pairs_are_listed(tmp_path: Path) -> None:
    put(tmp_path, *(f"p{n}/p{n}-{kind}" for n in range(3) for kind in ("t1n", "t2w", "t2f")))
    found = report(tmp_path, "cyclegan", "pairs")
    assert found.pairs is not None
    names = [{role: path.stem if path else None for role, path in p.items()} for p in found.pairs]
    assert names == [{"t1": f"p{n}-t1n.nii", "t2": f"p{n}-t2w.nii"} for n in range(3)]
    assert "another contrast than T1w and T2w" in left_out(found)["p0-t2f.nii.gz"]


def test_two_scans_of_one_contrast_are_a_question(tmp_path: Path) -> None:
    for n in (1, 2, 3):
        anat = f"sub-{n}/ses-1/anat/sub-{n}_ses-1"
        put(tmp_path, f"{anat}_T1w", f"{anat}_T2w")
    put(tmp_path, "sub-3/ses-1/anat/sub-3_ses-1_rec-norm_T1w")
    found = report(tmp_path, "cyclegan", "pairs")
    assert {row.subject for row in found.scans} == {"sub-1", "sub-2", "sub-3"}
    assert found.pairs is not None
    assert sum(all(pair.values()) for pair in found.pairs) == 3


def test_copies_are_of_one_subject_and_named(tmp_path: Path) -> None:
    put(tmp_path, "p1", "p2", "p3", "p4")
    same = zlib.crc32(b"p2")
    nifti.write(head(same), tmp_path / "renamed.nii")
    nifti.write(head(same, np.float32), tmp_path / "as_floats.nii.gz")
    found = report(tmp_path)
    rows = {row.path.name: row for row in found.scans}
    copies = [rows[name] for name in ("p2.nii.gz", "renamed.nii", "as_floats.nii.gz")]
    assert len({row.subject for row in copies}) == len({row.side for row in copies}) == 1
    assert sum("same image" in doubt.what for doubt in found.doubts) == 2


def test_label_maps_without_a_name_are_a_question(tmp_path: Path) -> None:
    put(tmp_path, "p1", "p2")
    nifti.write(head(0).with_array(head(0).array % 4), tmp_path / "p3.nii.gz")
    doubts = {doubt.path.name: doubt.what for doubt in report(tmp_path).doubts}
    assert "only 4 whole values" in doubts["p3.nii.gz"]


@pytest.mark.parametrize("layout", ["imagesTr/{}_0000 labelsTr/{}", "{} masks/{}", "{} {}_mask"])
def test_label_maps_are_no_scans(layout: str, tmp_path: Path) -> None:
    image, label = layout.split()
    for person in ("case_001", "case_002", "case_003"):
        put(tmp_path, image.format(person), label.format(person))
    found = report(tmp_path)
    assert {row.subject for row in found.scans} == {"case_001", "case_002", "case_003"}
    assert len(found.scans) == len(found.left_out) == 3


def test_a_folder_of_label_maps_alone_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "labelsTr/a", "labelsTr/b")
    with pytest.raises(MrgenError, match="label map by its name"):
        report(tmp_path)


def test_what_a_model_made_is_left_out_and_counted(tmp_path: Path) -> None:
    put(tmp_path, "p1", "p2", "p3", "p4")
    source = {"slices": {"subject": "elsewhere", "path": "somewhere/p2.nii.gz"}}
    for number, name in enumerate(("made", "made_of_p2")):
        record = {"family": "dcgan", "source": source if number else {}}
        made = head(20 + number).with_array(head(20 + number).array, provenance=record)
        nifti.write(made, tmp_path / f"{name}.nii.gz")
    found = report(tmp_path)
    assert {"made.nii.gz", "made_of_p2.nii.gz"} == set(left_out(found))
    paths = {"slices": [tmp_path]}
    notes = gather(SLICES, paths, SLICES.preset("tiny")).notes
    assert any("2 files left out" in note and "--include-synthetic" in note for note in notes)
    split = tmp_path / "split.json"
    for held_out in ("p1", "p2"):
        train = sorted({"p1", "p2", "p3", "p4"} - {held_out})
        split.write_text(json.dumps({"train": train, "test": [held_out]}))
        rows = report(tmp_path, include_synthetic=True, split_file=split)
        sides = {row.path.name: row.side for row in rows.scans}
        assert sides["made.nii.gz"] == "train"
        if held_out == "p2":
            assert "held-out subject" in left_out(rows)["made_of_p2.nii.gz"]
        else:
            assert sides["made_of_p2.nii.gz"] == "train"


def test_folders_above_the_path_decide_nothing(tmp_path: Path) -> None:
    root = tmp_path / "heart_test" / "study"
    put(root, *(f"train/p{n}" for n in range(3)), *(f"more/q{n}" for n in range(3)))
    sides = [row.side for row in report(root).scans]
    assert sides.count("held_out") == 2
    put(tmp_path / "msd", "imagesTr/a_1", "imagesTr/a_2", "imagesTs/a_3")
    assert {r.path.name: r.side for r in report(tmp_path / "msd").scans} == {
        "a_1.nii.gz": "train", "a_2.nii.gz": "train", "a_3.nii.gz": "held_out",
    }  # fmt: skip


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path / "store", "sub-1/anat/sub-1_T1w", "sub-2/anat/sub-2_T1w")
    (tmp_path / "study").mkdir()
    for name in ("sub-1", "sub-2"):
        (tmp_path / "study" / name).symlink_to(tmp_path / "store" / name)
    (tmp_path / "study" / "sub-1" / "round").symlink_to(tmp_path / "study")
    assert len(report(tmp_path / "study").scans) == 2


def test_a_cine_without_a_clock_is_taken(tmp_path: Path) -> None:
    for patient in (1, 2):
        cine, _ = beating_heart(patient, frames=14, slices=2, size=40)
        nifti.write(cine, tmp_path / f"heart-{patient}.nii.gz")
    assert len(report(tmp_path, "frame_prediction", "cine").scans) == 2
