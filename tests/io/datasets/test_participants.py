"""Tables beside the scans: age and sex, by whatever the columns are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.datasets.participants import parse_participant, participant_of, table_above
from napari_mrgen.io.find import find
from napari_mrgen.io.nifti import write
from napari_mrgen.samples import brain
from napari_mrgen.volume import Participant

HEAD = brain(0)[0]
SMALL = HEAD.with_array(HEAD.array[::8, ::8, ::8])


def table(folder: Path, text: str, name: str = "participants.csv"):  # type: ignore[no-untyped-def]
    (folder / name).write_text(text, "utf-8")
    return table_above(folder)


def test_a_bids_data_set(tmp_path: Path) -> None:
    for session in ("d0129", "d0757"):
        anat = tmp_path / "sub-OAS30001" / f"ses-{session}" / "anat"
        anat.mkdir(parents=True)
        write(SMALL, anat / f"sub-OAS30001_ses-{session}_T1w.nii.gz")
    text = "participant_id\tage\tsex\tcdr\nsub-OAS30001\t65.1\tF\t0\nsub-OAS30002\tn/a\tM\tn/a\n"
    (tmp_path / "participants.tsv").write_text(text, "utf-8")
    first, second = find(tmp_path, ("zyx",))
    assert first.subject == second.subject == "sub-OAS30001"
    assert first.read().participant == Participant(age=65.1, sex="F", cdr=0.0)
    assert participant_of("sub-OAS30002", table_above(tmp_path)) == Participant(sex="M")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("identifier", ["IXI012", "IXI012-HH", "IXI012-HH-1211"])
def test_a_row_may_name_its_subject_in_short(
    identifier: str, separator: str, tmp_path: Path
) -> None:
    rows = (("MRID", "Age", "Sex"), (identifier, "38.78", "M"), ("IXI01", "99", "F"))
    found = table(tmp_path, "\ufeff" + "\n".join(separator.join(row) for row in rows))
    assert participant_of("IXI012-HH-1211", found).known == {"age": 38.78, "sex": "M"}
    assert participant_of("IXI0120", found).known == {}


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ({"AGE": "74", "M/F": "Female", "CDR": "0.5", "MMSE": "29"},
         {"age": 74.0, "sex": "F", "cdr": 0.5, "mmse": 29.0}),
        ({"age_at_scan": "12,5", "Gender": "male"}, {"age": 12.5, "sex": "M"}),
        ({"age": "", "sex": "missing", "CDR": "nan"}, {}),
        ({"age": "-1", "sex": "1", "weight": "70"}, {}),
    ],
)  # fmt: skip
def test_columns_and_values(row: dict[str, str], known: dict[str, object]) -> None:
    assert parse_participant(row) == Participant(**known)


def test_a_table_that_was_changed_is_read_again(tmp_path: Path) -> None:
    assert participant_of("a", table(tmp_path, "id,age\na,30\n")).known == {"age": 30.0}
    found = table(tmp_path, "id,age\na,31\n")
    os.utime(tmp_path / "participants.csv", ns=(1, 1))
    assert participant_of("a", table_above(tmp_path)).known == {"age": 31.0}
    assert found is not table_above(tmp_path)


@pytest.mark.parametrize("text", ["", "id,age\n", "\n\n", "no table at all"])
def test_a_table_without_rows_knows_nothing(text: str, tmp_path: Path) -> None:
    assert participant_of("a", table(tmp_path, text)).known == {}


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(MrgenError, match="not a table of participants"):
        table_above(tmp_path)


def test_ixi(mrgen_data: Path) -> None:
    folder = mrgen_data / "ixi-t1-2mm"
    if not folder.is_dir():
        pytest.skip(f"no ixi-t1-2mm in {mrgen_data}")
    references = find(folder, ("zyx",))
    known = [reference for reference in references if reference.participant.known]
    assert (len(references), len(known)) == (42, 40)
    ixi443 = next(one for one in references if one.subject == "IXI443-HH-2215")
    assert ixi443.read().participant == Participant(age=69.13, sex="M")
