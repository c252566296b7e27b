"""What was in the viewer is found again in the run folder: whose it is, and where it lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_mrgen.app.saved_inputs import save_sources
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference, find
from napari_mrgen.volume import Participant, Volume

AFFINE = np.diag([-1.25, -1.5, -2.0, 1.0])[:, [2, 1, 0, 3]]


def scan(subject: str | None, name: str = "T1w", **known: Any) -> Volume:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    return Volume(
        array, "zyx", AFFINE, name=name, subject=subject, participant=Participant(**known)
    )


def found_again(folder: Path, *volumes: Volume) -> list[Reference]:
    paths = save_sources({"slices": volumes}, folder)["slices"]
    return [one for path in paths for one in find(path, ("zyx",))]


@pytest.mark.parametrize("subject", ["patient007", "OAS1_0042", "case_003", "IXI012", "sub-12"])
def test_a_subject_keeps_its_name(tmp_path: Path, subject: str) -> None:
    (reference,) = found_again(tmp_path, scan(subject))
    assert reference.subject == subject


def test_scans_of_one_subject_stay_together(tmp_path: Path) -> None:
    first, second = found_again(tmp_path, scan("one", "T1w"), scan("one", "T2w"))
    assert first.subject == second.subject
    assert first.path != second.path


def test_layers_without_a_subject_are_subjects(tmp_path: Path) -> None:
    found = found_again(tmp_path, scan(None, "left"), scan(None, "right"))
    assert len({one.subject for one in found}) == 2


def test_what_is_known_of_a_subject_goes_along(tmp_path: Path) -> None:
    young, old = found_again(tmp_path, scan("a", age=20.5, sex="F"), scan("b", age=80.0))
    assert young.read().participant == Participant(age=20.5, sex="F")
    assert old.read().participant == Participant(age=80.0)


def test_what_stood_beside_a_file_goes_along_with_it(tmp_path: Path) -> None:
    nifti.write(scan("sub-01"), tmp_path / "sub-01.nii")
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\t20.5\n", "utf-8")
    (reference,) = find(tmp_path)
    (saved,) = found_again(tmp_path / "run" / "inputs" / "of" / "it", reference.read())
    assert saved.read().participant == Participant(age=20.5)


def test_a_set_of_cases_is_taken_apart(tmp_path: Path) -> None:
    one = scan(None)
    stack = np.stack([one.array, one.array + 100])
    cases = replace(one, array=stack, axes="nzyx", cases=("case_001", "case_002"))
    found = found_again(tmp_path, cases)
    assert [reference.subject for reference in found] == ["case_001", "case_002"]
    np.testing.assert_array_equal(found[1].read().array, one.array + 100)
    np.testing.assert_allclose(found[1].read().affine, AFFINE, atol=1e-5)


def test_paths_stay_paths(tmp_path: Path) -> None:
    assert save_sources({"slices": (tmp_path,)}, tmp_path / "run") == {"slices": [tmp_path]}
