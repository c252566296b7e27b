"""What tables beside the scans know of the subjects: age, sex and scores.

``participants.tsv`` of BIDS, or a ``participants.csv`` (IXI: MRID, Age, Sex).
"""

from __future__ import annotations

import csv
import functools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_mrgen.errors import MrgenError
from napari_mrgen.volume import UNKNOWN, Participant

Table = Mapping[str, Participant]

_NAMES = ("participants.tsv", "participants.csv")
_LEVELS = 4
"""The table of a BIDS data set stands above subject, session and ``anat``."""

_IDS = ("participantid", "mrid", "subjectid", "subject", "id")
_NUMBERS = {"age": "age", "ageatscan": "age", "ageyears": "age", "cdr": "cdr", "mmse": "mmse"}
_SEX_COLUMNS = ("sex", "gender", "mf", "sexmf")
_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}


def table_above(folder: Path) -> Table:
    """Return the nearest table in a folder or above it, by subject; {} without."""
    for parent in (folder, *folder.absolute().parents[: _LEVELS - 1]):
        for name in _NAMES:
            path = parent / name
            if path.is_file():
                return _parsed(path, path.stat().st_mtime_ns)
    return {}


def participant_of(subject: str, table: Table) -> Participant:
    """Return what a table knows of a subject; it may name it in short: IXI012 is IXI012-HH-1211."""
    name = subject.removeprefix("sub-")
    ends = [len(name), *(gap.start() for gap in re.finditer(r"[^a-zA-Z0-9]", name))]
    for end in sorted(ends, reverse=True):
        if name[:end] in table:
            return table[name[:end]]
    return UNKNOWN


def parse_participant(row: Mapping[str, str]) -> Participant:
    """Return what is known of a subject, given text by whatever the columns are called."""
    values: dict[str, Any] = {}
    for column, text in row.items():
        key = _plain(column)
        if key in _NUMBERS and (number := _number(text)) is not None:
            values[_NUMBERS[key]] = number
        if key in _SEX_COLUMNS and text.strip().lower() in _SEXES:
            values["sex"] = _SEXES[text.strip().lower()]
    return Participant(**values)


@functools.cache
def _parsed(path: Path, _modified: int) -> Table:
    """Parse a table, once for each time that it was changed."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
        rows = list(csv.DictReader(lines, delimiter=_delimiter(path, lines)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MrgenError(f"{path} is not a table of participants ({error}).") from error
    columns = {_plain(column): column for column in (rows[0] if rows else {}) if column}
    if not columns:
        return {}
    column = next((columns[name] for name in _IDS if name in columns), next(iter(columns.values())))
    texts = [{name: text or "" for name, text in row.items() if name} for row in rows]
    return {row[column].strip().removeprefix("sub-"): parse_participant(row) for row in texts}


def _delimiter(path: Path, lines: list[str]) -> str:
    if path.suffix == ".tsv":
        return "\t"
    first = lines[0] if lines else ""
    return max(",;\t", key=first.count)


def _plain(column: str) -> str:
    return re.sub(r"[^a-z]", "", column.lower())


def _number(text: str) -> float | None:
    """Return a number that makes sense; None for ``n/a``, an empty field and the like."""
    try:
        number = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
