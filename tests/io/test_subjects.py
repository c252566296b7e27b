"""Whose scan a file is, in the layouts in which people keep theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.subjects import bare_name, subject_of, subjects_in

ROOT = Path("study")
_HCP = [
    f"{person}/T1w/{scan}.nii.gz"
    for person in ("100307", "100408", "101107")
    for scan in ("T1w_acpc_dc_restore_brain", "T2w_acpc_dc_restore_brain", "ribbon", "wmparc")
]
_UK_BIOBANK = [
    f"{person}/{scan}.nii.gz"
    for person in ("1000000", "1000001", "1000002")
    for scan in ("sa", "sa_ED", "la_2ch", "la_4ch", "seg_sa")
]


def named(names: list[str], rule: str = "auto") -> dict[str, str]:
    found = subjects_in([ROOT / name for name in names], ROOT, rule)
    return {path.relative_to(ROOT).as_posix(): subject.name for path, subject in found.items()}


@pytest.mark.parametrize(
    ("names", "persons"),
    [
        (["sub-01_ses-1_T1w.nii", "sub-01/ses-2/anat/T1w.nii", "sub-02_T1w.nii"], 2),
        (["P001_V1_T1w.nii", "P001_V2_T1w.nii", "P002_V1_T1w.nii"], 2),
        (["sub01_ses01.nii.gz", "sub01_ses02.nii.gz", "sub02_ses01.nii.gz"], 2),
        (["p1_baseline_T1.nii", "p1_month06_T1.nii", "p2_visit_1.nii", "p2_visit_2.nii"], 2),
        (["01_m06.nii", "01_m12.nii", "02_m06.nii"], 2),
        (["P001_1.nii", "P001_2.nii", "P002_1.nii"], 2),
        (["W39_1998.09.19_T1.nii", "W39_2001-01-02_T1.nii", "W40_1998.09.19_T1.nii"], 2),
        (["001_SA_CINE.nii", "001_LA_CINE.nii", "002_SA_CINE.nii"], 2),
        (["A0S9V9/A0S9V9_sa.nii", "A0S9V9/A0S9V9_sa_gt.nii", "A1D0Q7/A1D0Q7_sa.nii"], 2),
        (["scan_01.nii", "scan_01 copy.nii", "scan_01 (1).nii", "scan_02.nii"], 2),
        (["a - Kopie.nii", "a.nii", "a.nii.gz", "b.nii", "a copy 2.nii"], 2),
        (["901_S_0001/MPRAGE/2010-01-01_12_00/S1/x.nii", "ADNI_901_S_0001_MR_2.nii"], 1),
        (["case_A/T1.nii", "case_B/T1.nii", "case_C/T1.nii", "case_C/T2.nii"], 3),
        (["anna/1/T1.nii", "anna/2/T1.nii", "bert/1/T1.nii"], 2),
        (["p1/baseline/scan.nii", "p1/followup/scan.nii", "p2/baseline/scan.nii"], 2),
        (["p1_visit1/T1.nii", "p1_visit2/T1.nii", "p2_visit1/T1.nii"], 2),
        (["siteA/p01/T1.nii", "siteA/p02/T1.nii", "siteB/p01/T1.nii"], 3),
        (["foo/p01/T1.nii", "foo/p03/T1.nii", "bar/p02/T1.nii"], 3),
        (["AD/p1.nii", "CN/p2.nii", "AD/p3.nii"], 3),
        (["T1/001.nii", "T2/001.nii", "T1/002.nii"], 2),
        (["raw/001.nii", "denoised/001.nii", "raw/002.nii", "denoised/002.nii"], 2),
        (["subj1/mri/T1.mgz", "subj1/mri/orig/001.mgz", "subj2/mri/T1.mgz"], 2),
        (["BraTS-GLI-00005-000/x-t1n.nii", "BraTS-GLI-00005-001/x-t1n.nii"], 1),
        (["BraTS20_Training_001/BraTS20_Training_001_t1.nii", "BraTS20_Training_002_t1.nii"], 2),
        (["imagesTr/B_000_0000.nii", "imagesTr/B_000_0001.nii", "labelsTr/B_000.nii"], 1),
        (["imagesTr/case_0000.nii", "imagesTr/case_0001.nii"], 2),
        (["1000000_20209_2_0/sa.nii", "1000000_20209_3_0/sa.nii", "1000001_20209_2_0/sa.nii"], 2),
        (_HCP, 3),
        (_UK_BIOBANK, 3),
        # Names that look like visits are persons where nothing else tells persons apart.
        (["study2_1.nii", "study2_2.nii", "study2_3.nii"], 3),
        (["brain_001.nii", "brain_002.nii"], 2),
        (["1.nii", "2.nii", "3.nii"], 3),
        (["visit_1.nii", "visit_2.nii"], 2),
    ],
)
def test_each_person_is_one_subject(names: list[str], persons: int) -> None:
    assert len(set(named(names).values())) == persons, named(names)


def test_a_folder_of_a_person_holds_nobody_else() -> None:
    for path, subject in named(_HCP + _UK_BIOBANK).items():
        assert subject == path.split("/")[0]


def test_doubt_is_said_with_what_to_do() -> None:
    names = ["case1/scan_871.nii", "case1/scan_872.nii", "case2/scan_873.nii", "case3/s_874.nii"]
    found = subjects_in([ROOT / name for name in names], ROOT)
    assert {subject.name for subject in found.values()} == {"case1", "case2", "case3"}
    assert all("--subject-from name" in subject.doubt for subject in found.values())
    assert len(set(named(names, "name").values())) == 4
    assert not any(one.doubt for one in subjects_in([ROOT / "p1.nii"], ROOT).values())


def test_a_user_may_know_better() -> None:
    names = ["a/p1_x.nii", "b/p1_y.nii", "b/p2_x.nii"]
    assert set(named(names, "folder").values()) == {"a", "b"}
    assert set(named(names, r"(p\d)_").values()) == {"p1", "p2"}
    assert set(named(names, r"p\d").values()) == {"p1", "p2"}
    unmatched = subjects_in([ROOT / "q.nii"], ROOT, r"(p\d)")[ROOT / "q.nii"]
    assert (unmatched.name, "is not in q.nii" in unmatched.doubt) == ("q", True)
    with pytest.raises(MrgenError, match="regular expression"):
        named(names, "(p")


@pytest.mark.parametrize(
    ("path", "subject"),
    [
        ("case9/T1.nii", "case9"),
        ("case9/T1/T1.nii", "case9"),
        ("trainA/case9.nii", "case9"),
        ("T1.nii", "T1"),
        ("IXI012-HH-1211-T1.nii.gz", "IXI012-HH-1211"),
        ("x/sub-07/anat/T1w.nii.gz", "sub-07"),
    ],
)
def test_one_file_by_itself(path: str, subject: str) -> None:
    assert subject_of(Path(path)) == subject


@pytest.mark.parametrize("name", ["", "T1", "_", "()", "v1", "copy", "seg", "2010-01-01"])
def test_a_name_of_nothing_but_such_words(name: str) -> None:
    assert isinstance(bare_name(name), str)
    assert subject_of(Path(f"{name}.nii")) == name or name in {"", "_", "()"}
