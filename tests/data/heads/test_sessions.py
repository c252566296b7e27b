from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_mrgen.data.heads.brain import Box, crop
from napari_mrgen.data.heads.registration import moved
from napari_mrgen.data.heads.sessions import (
    LEAST_SIMILARITY,
    Session,
    check_alignment,
    group_sessions,
    mutual_information,
    sessions_of,
)
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.datasets.contrasts import find_pairs
from napari_mrgen.io.find import Reference
from napari_mrgen.io.subjects import subject_of
from napari_mrgen.volume import Volume
from tests.data.heads.head_data import head, rigid, true_mask, write


def scans(*names: str) -> list[Reference]:
    paths = (Path(f"{name}.nii") for name in names)
    return [Reference(path, subject_of(path)) for path in paths]


def named(pairs: tuple[Session, ...]) -> list[tuple[str | None, str | None]]:
    return [
        (
            pair.scans["t1"].path.stem if "t1" in pair.scans else None,
            pair.scans["t2"].path.stem if "t2" in pair.scans else None,
        )
        for pair in pairs
    ]


def group(
    t1: list[Reference], t2: list[Reference], masks: list[Reference] | None = None
) -> tuple[Session, ...]:
    return group_sessions({"t1": t1, "t2": t2}, masks or ())


# ---- by name ------------------------------------------------------------------------------------


def test_scans_are_paired_by_subject_whatever_their_order() -> None:
    pairs = group(scans("b_T1", "a_T1w"), scans("a_T2W", "b_T2"), scans("b_mask"))
    assert named(pairs) == [("a_T1w", "a_T2W"), ("b_T1", "b_T2")]
    assert [pair.name for pair in pairs] == ["a", "b"]
    assert [pair.mask is not None for pair in pairs] == [False, True]
    assert not any(pair.note for pair in pairs)


def test_a_scan_without_a_partner_stays_alone() -> None:
    assert named(group(scans("a_T1"), scans("b_T2"))) == [("a_T1", None), (None, "b_T2")]
    assert named(group(scans("a_T1"), [])) == [("a_T1", None)]
    assert group([], [], scans("a_mask")) == ()


def test_sessions_of_a_subject_are_pairs_of_their_own() -> None:
    t1 = scans("sub-1/ses-1/anat/T1w", "sub-1_ses-2_acq-mprage_T1w", "patient1_study1_T1W")
    t2 = scans("sub-1_ses-2_acq-tse_T2w", "sub-1/ses-1/anat/T2w", "patient1_study2_T2W")
    pairs = group(t1, t2)
    assert named(pairs) == [
        ("patient1_study1_T1W", "patient1_study2_T2W"),
        ("T1w", "T2w"),
        ("sub-1_ses-2_acq-mprage_T1w", "sub-1_ses-2_acq-tse_T2w"),
    ]
    assert "the only ones left of patient1" in pairs[0].note
    assert len({pair.name for pair in pairs}) == 3
    assert {pair.subject for pair in pairs} == {"patient1", "sub-1"}


def test_of_two_scans_of_one_session_the_one_is_taken_whose_name_fits() -> None:
    pairs = group(scans("a_run-1_T1w", "a_run-2_T1w"), scans("a_run-2_T2w"))
    assert named(pairs) == [("a_run-2_T1w", "a_run-2_T2w"), ("a_run-1_T1w", None)]
    t1 = [replace(scan, subject="a") for scan in scans("a_x_T1w", "a_y_T1w")]
    t2 = [replace(scan, subject="a") for scan in scans("a_z_T2w")]
    loose = group(t1, t2)
    assert named(loose) == [("a_x_T1w", "a_z_T2w"), ("a_y_T1w", None)]
    assert "a has 2 T1w scans (a_x_T1w.nii, a_y_T1w.nii)" in loose[0].note, "that is asked"
    assert len({pair.name for pair in loose}) == 2


def test_a_pair_by_order_is_said() -> None:
    other = replace(scans("trainB/y")[0], subject="x")
    (pair,) = group(scans("trainA/x"), [other])
    assert pair.is_paired
    assert "by the order of the files" in pair.note


def test_every_scan_is_in_one_pair() -> None:
    t1 = scans(*(f"s{n % 4}_run-{n}_T1w" for n in range(9)))
    t2 = scans(*(f"s{n % 3}_run-{n}_T2w" for n in range(7)))
    pairs = group(t1, t2)
    assert sorted(p.scans["t1"].path for p in pairs if "t1" in p.scans) == sorted(
        s.path for s in t1
    )
    assert sorted(p.scans["t2"].path for p in pairs if "t2" in p.scans) == sorted(
        s.path for s in t2
    )


def test_a_mask_that_hangs_on_the_scan_is_its_mask() -> None:
    (scan,) = scans("a_T1w")
    hung = replace(scan, labels=(Path("a_T1w_lesion.nii"), Path("a_T1w_mask.nii")))
    (pair,) = group([hung], [])
    assert pair.mask is not None
    assert pair.mask.path.name == "a_T1w_mask.nii"


def test_any_contrasts_are_grouped() -> None:
    names = ("a_run-1", "a_run-2", "b")
    found = {c: scans(*(f"{name}_{c}" for name in names)) for c in ("t1", "t2")}
    three = group_sessions({**found, "flair": scans("b_x_flair")[:1]})
    assert [(one.name, list(one.scans)) for one in three][:2] == [
        ("a_run-1", ["t1", "t2"]), ("a_run-2", ["t1", "t2"]),
    ]  # fmt: skip
    (only, *rest) = group_sessions({"t1": found["t1"]})
    assert [list(one.scans) for one in (only, *rest)] == 3 * [["t1"]]
    assert not any(one.is_paired for one in (only, *rest))
    own = [replace(scan, subject="b") for scan in scans("flair/other")]
    *_, whole = group_sessions({**found, "flair": own})
    assert list(whole.scans) == ["t1", "t2", "flair"]
    assert whole.note, "the names do not match"


def test_inputs_are_paired() -> None:
    roles = {"t1": tuple(scans("a_T1")), "t2": tuple(scans("a_T2"))}
    (pair,) = sessions_of(Inputs(roles, Split(("a",), ())), ("t1", "t2"))
    assert pair.is_paired


# ---- by voxels ----------------------------------------------------------------------------------


def test_mutual_information_is_2_of_the_same_and_1_of_strangers() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 50, 50, 50))
    everywhere = np.ones(one.shape, bool)
    assert mutual_information(one, one, everywhere) == pytest.approx(2)
    assert mutual_information(one, 3 - 2 * one, everywhere) == pytest.approx(2)
    assert mutual_information(one, other, everywhere) < 1.01
    assert mutual_information(one, other, ~everywhere) == 1
    assert mutual_information(one, one * 0, everywhere) == 1


def pair_of(folder: Path, t1: Volume, t2: Volume, mask: Volume | None = None) -> Session:
    volumes = {"t1": (t1, "a_T1w"), "t2": (t2, "a_T2w"), "mask": (mask, "a_mask")}
    found = {
        role: Reference(write(volume, folder / f"{name}.nii"), "a")
        for role, (volume, name) in volumes.items()
        if volume is not None
    }
    return Session("a", {"t1": found["t1"], "t2": found["t2"]}, found.get("mask"))


T1, T2 = head(3)


def test_on_one_grid(tmp_path: Path) -> None:
    check = check_alignment(pair_of(tmp_path, T1, T2))
    assert (check.relation, check.advice) == ("same grid", "")
    assert check.similarity is not None
    assert check.similarity > LEAST_SIMILARITY


def test_on_two_grids_of_one_scanner(tmp_path: Path) -> None:
    part = crop(T2, Box((3, 4, 5), (36, 40, 36)))
    check = check_alignment(pair_of(tmp_path, T1, part))
    assert check.relation == "aligned in scanner coordinates"
    assert "resampled" in check.advice


@pytest.mark.parametrize("shift", [12.0, 30.0, 900.0])
def test_what_has_moved_is_not_aligned(tmp_path: Path, shift: float) -> None:
    check = check_alignment(pair_of(tmp_path, T1, moved(T2, rigid((0, 0, 0), (0, shift, 0)))))
    assert check.relation == "not aligned"
    assert "register" in check.advice


@pytest.mark.parametrize("skull", [False, True])
def test_two_subjects_are_no_pair(tmp_path: Path, *, skull: bool) -> None:
    own, other = head(3, skull=skull), head(4, skull=skull)
    assert check_alignment(pair_of(tmp_path / "own", *own)).is_aligned
    assert not check_alignment(pair_of(tmp_path / "other", own[0], other[1])).is_aligned


def test_one_scan_is_no_pair(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, T1, T2)
    check = check_alignment(replace(pair, scans={"t2": pair.scans["t2"]}))
    assert (check.relation, check.similarity) == ("unpaired", None)
    assert "Only a T2w" in check.advice


def test_a_given_mask_is_used_and_an_empty_one_refused(tmp_path: Path) -> None:
    mask = T1.with_array(true_mask().astype(np.uint8), kind="labels")
    assert check_alignment(pair_of(tmp_path, T1, T2, mask)).is_aligned
    empty = mask.with_array(mask.array * 0)
    with pytest.raises(MrgenError, match=r"a_mask\.nii marks nothing"):
        check_alignment(pair_of(tmp_path, T1, T2, empty))


def test_holes_of_nan_do_no_harm(tmp_path: Path) -> None:
    holed = T2.array.astype(np.float32)
    holed[:10] = np.nan
    assert check_alignment(pair_of(tmp_path, T1, T2.with_array(holed))).is_aligned


class TestOpenMS:
    @pytest.fixture
    def folder(self, mrgen_data: Path) -> Path:
        folder = mrgen_data / "open-ms-t1-t2"
        if not folder.is_dir():
            pytest.skip(f"no open-ms-t1-t2 in {mrgen_data}")
        return folder

    def test_pairs_differ_from_planted_ones(self, folder: Path) -> None:
        roles = find_pairs(folder / "mni_1mm")
        assert "mask" not in roles, "lesions are no brain"
        one, other = group(roles["t1"], roles["t2"])[:2]
        check = check_alignment(one)
        assert check.relation == "same grid"
        assert check.similarity == pytest.approx(1.095, abs=0.005)
        assert not check_alignment(
            replace(one, scans={**one.scans, "t2": other.scans["t2"]})
        ).is_aligned

    def test_native_scans_are_found_and_paired(self, folder: Path) -> None:
        roles = find_pairs(folder / "raw")
        pairs = group(roles["t1"], roles["t2"])
        assert [pair.name for pair in pairs] == ["patient01", "patient03", "patient04", "patient12"]
        assert all(pair.is_paired and not pair.note for pair in pairs)
        assert check_alignment(pairs[2]).relation == "aligned in scanner coordinates"
        assert check_alignment(pairs[1]).relation == "not aligned"
