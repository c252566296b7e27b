"""The table of pairs that is shown before a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_mrgen import families
from napari_mrgen.app.inputs import gather
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.family import Survey, SurveysData
from napari_mrgen.families.cyclegan.config import TINY
from tests.data.heads.head_data import head, rigid, write, write_pair

FAMILY = families.get("cyclegan")
SHIFTED = rigid((0, 0, 0), (14, -10, 12))
ALIKE, ASIDE, ALONE, COARSE = "alike", "aside", "alone", "coarse"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of each kind: on one grid, on two grids, not aligned, and a single T1w."""
    made = tmp_path_factory.mktemp("heads")
    write_pair(made, ALIKE, head(1))
    t1, t2 = head(2)
    write_pair(made, ASIDE, (t1, replace(t2, affine=SHIFTED @ t2.affine)))
    t1, t2 = head(3)
    coarser = t2.affine @ np.diag([2.0, 1, 1, 1])
    write_pair(made, COARSE, (t1, replace(t2, array=t2.array[::2].copy(), affine=coarser)))
    write(head(4)[0], made / f"{ALONE}_T1w.nii")
    return made


@pytest.fixture(scope="module")
def inputs(folder: Path) -> Inputs:
    return gather(FAMILY, {"pairs": [folder]}, TINY)


def survey(inputs: Inputs, **settings: object) -> Survey:
    *_, last = FAMILY.survey(TINY.with_values(settings), inputs)
    assert isinstance(last, Survey)
    return last


def cells(found: Survey, column: str) -> dict[str, str]:
    """Return a column of the table, by subject."""
    place = found.columns.index(column)
    return {row[0]: row[place] for row in found.rows}


def test_every_pair_is_a_row_that_says_how_it_lies(inputs: Inputs) -> None:
    found = survey(inputs)
    assert cells(found, "How they lie") == {
        ALIKE: "same grid", ALONE: "unpaired", ASIDE: "not aligned",
        COARSE: "aligned in scanner coordinates",
    }  # fmt: skip
    assert cells(found, "T2w")[ALIKE] == f"{ALIKE}_T2w.nii"
    assert cells(found, "T2w")[ALONE] == "–"
    assert (
        float(cells(found, "Similarity")[ALIKE]) > 1.03 > float(cells(found, "Similarity")[ASIDE])
    )
    assert set(cells(found, "Used for").values()) == {"training", "testing"}


@pytest.mark.parametrize(
    ("choice", "word"), [("refuse", "Refused"), ("register", "registered"), ("unpaired", "not as")]
)
def test_what_will_be_done_follows_the_setting(inputs: Inputs, choice: str, word: str) -> None:
    found = survey(inputs, unaligned=choice)
    done = cells(found, "What will be done")
    assert word in done[ASIDE]
    assert word not in done[ALIKE]
    assert any(note.startswith("1 do not lie on one another") for note in found.notes)


def test_it_says_how_far_it_is_and_reads_on_after_a_damaged_file(
    folder: Path, tmp_path: Path
) -> None:
    write_pair(tmp_path, ALIKE, head(1))
    write_pair(tmp_path, "damaged", head(2))
    inputs = gather(FAMILY, {"pairs": [tmp_path]}, TINY)
    (tmp_path / "damaged_T2w.nii").write_bytes(b"no image")
    *before, last = FAMILY.survey(TINY, inputs)
    assert [(item.done, item.total) for item in before if isinstance(item, Progress)] == [
        (0, 2), (1, 2),
    ]  # fmt: skip
    assert isinstance(last, Survey)
    done = cells(last, "What will be done")
    assert done["damaged"].startswith("Refused: ")
    assert done[ALIKE] == "Used as a pair."


def test_what_the_split_leaves_out_is_not_read(inputs: Inputs) -> None:
    found = survey(replace(inputs, split=Split((ALIKE,), (COARSE,))))
    assert cells(found, "How they lie")[ASIDE] == "–"
    assert cells(found, "What will be done")[ASIDE].startswith("Left out")


def test_a_family_to_which_it_does_not_matter_has_no_table() -> None:
    assert not isinstance(families.get("frame_prediction"), SurveysData)
