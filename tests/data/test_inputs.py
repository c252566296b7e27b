"""Scans lie by role; subjects are trained on or held out, never both."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mrgen.data.inputs import Inputs, Split, split_subjects
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import Reference

subjects = st.sets(st.text(min_size=1, max_size=4), min_size=1, max_size=30)


@given(subjects, st.floats(0.01, 0.99), st.integers(0, 99))
def test_every_subject_is_on_one_side(names: set[str], share: float, seed: int) -> None:
    split = split_subjects(names, share, seed)
    assert set(split.train) | set(split.test) == names
    assert not set(split.train) & set(split.test)
    assert split.train


@given(subjects, st.floats(0.01, 0.99), st.integers(0, 99))
def test_the_share_is_kept_and_at_least_one(names: set[str], share: float, seed: int) -> None:
    held_out = len(split_subjects(names, share, seed).test)
    if len(names) > 1:
        assert held_out == min(max(1, round(share * len(names))), len(names) - 1)


@given(subjects, st.integers(0, 99))
def test_order_and_repetition_do_not_matter(names: set[str], seed: int) -> None:
    ordered = sorted(names)
    assert split_subjects(ordered, 0.3, seed) == split_subjects(ordered[::-1] * 2, 0.3, seed)


def test_a_single_subject_is_trained_on() -> None:
    assert split_subjects(["a"], 0.9, 0) == Split(("a",), ())


def test_no_subject_on_both_sides() -> None:
    with pytest.raises(MrgenError, match="b, c"):
        Split(("a", "b", "c"), ("c", "b"))


def test_reading_is_the_inverse_of_writing(tmp_path: Path) -> None:
    split = Split(("a", "b"), ("ü",))
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"train": ["a"]}',
        '{"train": 3, "test": []}',
        '{"train": "ab", "test": []}',
        '{"train": [1], "test": []}',
    ],
)
def test_what_is_no_split_says_what_was_expected(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(MrgenError, match=r"split\.json is not a split file; expected"):
        Split.load(tmp_path / "split.json")


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MrgenError, match=r"nowhere\.json"):
        Split.load(tmp_path / "nowhere.json")


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
