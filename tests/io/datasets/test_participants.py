"""Tables beside the scans: age and sex, by whatever the columns are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("raw", [b"\xff\xfe\x00\x81", b"\x00" * 9, b'"a,b\nc', b"\xff" * 40])
def test_a_table_never_stops_anything(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_bytes(raw)
    assert participant_of("a", table_above(tmp_path)) == Participant()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("separator", ["\t", ","])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_in_any_encoding(encoding: str, separator: str, end: str, tmp_path: Path) -> None:
    rows = (("participant_id", "age", "remarque"), ("sub-01", "41", "répété"))
    text = end.join(separator.join(row) for row in rows) + end
    (tmp_path / "participants.tsv").write_bytes(text.encode(encoding))
    assert participant_of("sub-01", table_above(tmp_path)).known == {"age": 41.0}


@pytest.mark.parametrize(
    ("column", "text", "age"),
    [
        ("age", "045Y", 45), ("age", "504M", 42), ("age", "89+", 89), ("age", "12 years", 12),
        ("age_months", "18", 1.5), ("AgeInDays", "3652.5", 10), ("age", "26W", 0.4983),
        ("age", "18-38", None), ("age", "old", None), ("age", "-3", None), ("age", "1e999", None),
    ],
)  # fmt: skip
def test_ages_as_people_write_them(
    column: str, text: str, age: float | None, tmp_path: Path
) -> None:
    found = table(tmp_path, f"id,{column}\na,{text}\nb,n/a\n")
    assert participant_of("a", found).age == age
    assert participant_of("b", found).age is None
    named = [f"1 of 2 values of age could not be read, such as {text!r}" in n for n in found.notes]
    assert any(named) is (age is None), found.notes


def test_the_unit_of_a_column_is_in_the_json_beside_it(tmp_path: Path) -> None:
    (tmp_path / "participants.json").write_text('{"age": {"Units": "months"}}')
    found = table(tmp_path, "participant_id\tage\nsub-01\t30\n", "participants.tsv")
    assert participant_of("sub-01", found).age == 2.5


def test_each_session_has_its_own_age(tmp_path: Path) -> None:
    text = "participant_id\tsession_id\tage\tsex\nsub-01\tses-01\t31\tF\nsub-01\tses-02\t37\tF\n"
    found = table(tmp_path, text, "participants.tsv")
    assert [participant_of("sub-01", found, s).age for s in ("01", "ses-02")] == [31, 37]
    assert participant_of("sub-01", found).age is None, "never that of some session"


def test_rows_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    found = table(tmp_path, "id,age,sex\na,31,F\na,37,F\nb,5,M\n")
    assert participant_of("a", found) == Participant(sex="F")
    assert participant_of("b", found).age == 5
    assert "rows of a contradict" in found.notes[0]


def test_the_sessions_table_of_a_subject(tmp_path: Path) -> None:
    for session in ("1", "2"):
        anat = tmp_path / "sub-01" / f"ses-{session}" / "anat"
        anat.mkdir(parents=True)
        write(SMALL, anat / f"sub-01_ses-{session}_T1w.nii.gz")
    (tmp_path / "participants.tsv").write_text("participant_id\tsex\nsub-01\tM\n")
    (tmp_path / "sub-01" / "sub-01_sessions.tsv").write_text(
        "session_id\tage\nses-1\t20\nses-2\t22\n"
    )
    assert [one.participant for one in find(tmp_path)] == [
        Participant(age=20, sex="M"),
        Participant(age=22, sex="M"),
    ]


def test_ixi(mrgen_data: Path) -> None:
    folder = mrgen_data / "ixi-t1-2mm"
    if not folder.is_dir():
        pytest.skip(f"no ixi-t1-2mm in {mrgen_data}")
    references = find(folder, ("zyx",))
    known = [reference for reference in references if reference.participant.known]
    assert (len(references), len(known)) == (42, 40)
    ixi443 = next(one for one in references if one.subject == "IXI443-HH-2215")
    assert ixi443.read().participant == Participant(age=69.13, sex="M")
