from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.datasets.contrasts import (
    contrast_of,
    find_contrast,
    find_masks,
    find_pairs,
    is_brain_mask_name,
    scan_of,
)
from napari_mrgen.io.subjects import subject_of
from napari_mrgen.volume import Volume


def make(root: Path, *names: str, frames: int = 0) -> Path:
    array = np.ones((frames, 2, 3, 4) if frames else (2, 3, 4), np.int16)
    for name in names:
        path = root / f"{name}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        nifti.write(Volume(array, "tzyx" if frames else "zyx", np.eye(4)), path)
    return root


def subjects(root: Path) -> dict[str, list[str]]:
    return {role: [scan.subject for scan in scans] for role, scans in find_pairs(root).items()}


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("patient1_T1W", "t1"),
        ("patient1_study2_T2W", "t2"),
        ("sub-01_ses-2_acq-T1_run-1_T2w", "t2"),
        ("sub-01_space-T1w_T2w", "t2"),
        ("MNI152_T1_1mm_brain", "t1"),
        ("T2_registered_to_T1", "t2"),
        ("case_mprage", "t1"),
        ("patient1_T2_FLAIR", ""),
        ("patient1_T1_gd", ""),
        ("patient1_T2star", ""),
        ("patient1", ""),
        ("AT1_scan", ""),
    ],
)
def test_the_contrast_that_a_name_says(name: str, contrast: str) -> None:
    assert contrast_of(Path("t1", f"{name}.nii.gz")) == contrast


def test_the_folder_speaks_where_the_name_is_silent() -> None:
    root = Path("open-t1-t2")
    assert contrast_of(root / "T2" / "001.nii", root) == "t2"
    assert contrast_of(root / "T1_and_T2" / "001.nii", root) == ""
    assert contrast_of(root / "T2" / "001_FLAIR.nii", root) == ""
    assert contrast_of(root / "001.nii", root) == ""


@pytest.mark.parametrize(
    ("path", "subject", "session"),
    [
        ("patient01_study1_T1W.nii.gz", "patient01", "study1"),
        ("sub-01/ses-2/anat/sub-01_ses-2_T2w.nii.gz", "sub-01", "ses-2"),
        ("sub-01/ses-2/anat/T2w.nii.gz", "sub-01", "ses-2"),
        ("subj7/T1.nii", "subj7", ""),
        ("subj7/T1/T1.nii", "subj7", ""),
        ("trainA/case9.nii", "case9", ""),
        ("IXI012-HH_T1.nii", "IXI012-HH", ""),
        ("MNI152_T1_1mm_brain.nii", "MNI152", ""),
        ("MNI152_T1_1mm_brain_mask.nii", "MNI152", ""),
        ("sub-3_desc-brain_mask.nii", "sub-3", ""),
    ],
)
def test_scans_of_one_head_have_one_name(path: str, subject: str, session: str) -> None:
    assert (subject_of(Path(path)), scan_of(Path(path)).session) == (subject, session)


def test_a_lesion_mask_is_no_brain_mask() -> None:
    assert is_brain_mask_name(Path("p1_brain_mask.nii"))
    assert not is_brain_mask_name(Path("p1_lesion_mask.nii"))
    assert not is_brain_mask_name(Path("p1_lesion.nii"))


def test_any_folder_whose_names_say_it(tmp_path: Path) -> None:
    make(tmp_path, "a/p1_T1W", "a/p1_T2W", "a/p1_mask", "a/p1_lesion", "p2_T1", "p2_T2_FLAIR")
    make(tmp_path, "p3_T2", frames=3)
    assert subjects(tmp_path) == {"t1": ["p1", "p2"], "t2": ["p1"], "mask": ["p1"]}


def test_a_bids_folder(tmp_path: Path) -> None:
    for n in ("01", "02"):
        anat = f"sub-{n}/anat/sub-{n}"
        make(tmp_path, f"{anat}_T1w", f"{anat}_T2w", f"{anat}_FLAIR", f"{anat}_desc-brain_mask")
        make(tmp_path, f"sub-{n}/func/sub-{n}_task-rest_bold", frames=4)
    both = ["sub-01", "sub-02"]
    assert subjects(tmp_path) == {"t1": both, "t2": both, "mask": both}


def test_a_folder_for_each_contrast(tmp_path: Path) -> None:
    make(tmp_path, "T1/001", "T1/002", "T2/001", "T2/003")
    assert subjects(tmp_path) == {"t1": ["001", "002"], "t2": ["001", "003"]}


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    make(tmp_path, "x/T1/scan", "x/T2/scan", "y/T1/scan", "y/T2/scan")
    assert subjects(tmp_path) == {"t1": ["x", "y"], "t2": ["x", "y"]}


def test_domains_are_paired_by_name(tmp_path: Path) -> None:
    make(tmp_path, "trainA/b", "trainA/a", "trainB/a", "trainB/b", "testA/c", "testB/c")
    assert subjects(tmp_path) == {"t1": ["c", "a", "b"], "t2": ["c", "a", "b"]}


def test_domains_whose_names_do_not_match_are_paired_by_order(tmp_path: Path) -> None:
    make(tmp_path, "trainA/x1", "trainA/x2", "trainB/y1", "trainB/y2", "testA/z", "testB/z")
    roles = find_pairs(tmp_path)
    found = {scan.path.stem: scan.subject for scan in roles["t2"]}
    assert found == {"y1": "x1", "y2": "x2", "z": "z"}


def test_domains_of_different_length_stay_unpaired(tmp_path: Path) -> None:
    make(tmp_path, "trainA/x1", "trainA/x2", "trainB/y1")
    assert subjects(tmp_path) == {"t1": ["x1", "x2"], "t2": ["y1"]}


def test_of_a_folder_with_both_only_one_contrast_is_taken(tmp_path: Path) -> None:
    make(tmp_path, "p1_T1", "p1_T2", "p2")
    found = {scan.path.stem: scan.subject for scan in find_contrast(tmp_path, "t1", ("zyx",))["t1"]}
    assert found == {"p1_T1": "p1", "p2": "p2"}
    (file,) = find_contrast(tmp_path / "p1_T2.nii", "t1", ("zyx",))["t1"]
    assert file.subject == "p1", "a file that is named is taken, whatever it is called"
    (tmp_path / "p1_T1.nii").unlink()
    (tmp_path / "p2.nii").unlink()
    with pytest.raises(MrgenError, match="another contrast than T1w"):
        find_contrast(tmp_path, "t1", ("zyx",))


def test_masks_among_images_and_by_themselves(tmp_path: Path) -> None:
    make(tmp_path, "both/p1_T1", "both/p1_mask", "alone/p1", "alone/p2")
    assert [mask.path.stem for mask in find_masks(tmp_path / "both")["mask"]] == ["p1_mask"]
    assert [mask.subject for mask in find_masks(tmp_path / "alone")["mask"]] == ["p1", "p2"]


def test_a_folder_without_either_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "one", "two")
    with pytest.raises(MrgenError, match="trainA and trainB"):
        find_pairs(tmp_path)
    with pytest.raises(MrgenError, match="is not a folder"):
        find_pairs(tmp_path / "one.nii")
