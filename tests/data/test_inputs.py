"""Inputs by role and split."""

from __future__ import annotations

from pathlib import Path

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.split import Split
from napari_mrgen.io.find import Reference

SCANS = tuple(Reference(Path(f"{name}.nii"), name[0]) for name in ("a1", "a2", "b1", "c1"))


def test_all_scans_of_a_subject_are_on_its_side() -> None:
    inputs = Inputs({"cine": SCANS}, Split(("a", "c"), ("b",)))
    assert [scan.path.stem for scan in inputs.train("cine")] == ["a1", "a2", "c1"]
    assert [scan.path.stem for scan in inputs.test("cine")] == ["b1"]
    assert not inputs.nothing_held_out


def test_with_nothing_held_out_the_training_scans_are_tested() -> None:
    inputs = Inputs({"cine": SCANS[:2]}, Split(("a",), ()))
    assert inputs.nothing_held_out
    assert inputs.test("cine") == inputs.train("cine") == SCANS[:2]


def test_a_subject_outside_the_split_is_left_out() -> None:
    inputs = Inputs({"cine": SCANS}, Split(("a",), ("b",)))
    assert "c" not in {s.subject for s in (*inputs.train("cine"), *inputs.test("cine"))}


def test_a_role_without_scans_is_empty() -> None:
    assert Inputs({}, Split(("a",), ())).train("labels") == ()
