"""What tables beside the scans know of the subjects: age, sex and scores.

``participants.tsv`` and ``sub-*_sessions.tsv`` of BIDS, or a ``participants.csv`` (IXI: MRID, Age,
Sex). A table never stops a scan from being read: what is not understood is counted in a note.
"""

from __future__ import annotations

import codecs
import csv
import functools
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_mrgen.volume import UNKNOWN, Participant

_NAMES = ("participants.tsv", "participants.csv")
_LEVELS = 4
"""The table of a BIDS data set stands above subject, session and ``anat``."""

_IDS = ("participantid", "mrid", "subjectid", "subject", "id")
_SESSION_IDS = ("sessionid", "session", "visit", "visitid", "timepoint")
_NUMBERS = {
    "age": "age", "ageatscan": "age", "ageatsession": "age", "ageyears": "age", "ageinyears": "age",
    "agemonths": "age", "ageinmonths": "age", "ageweeks": "age", "ageinweeks": "age",
    "agedays": "age", "ageindays": "age", "cdr": "cdr", "mmse": "mmse",
}  # fmt: skip
_A_YEAR = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
"""How many years, months, weeks and days a year has, by the letters of DICOM."""
_COLUMN_UNITS = {"M": "months", "W": "weeks", "D": "days"}
_AGE = re.compile(
    r"(\d+(?:[.,]\d+)?)\s*([YMWD])?(?:ears?|onths?|eeks?|ays?)?\.?(\+)?", re.IGNORECASE
)
_SEX_COLUMNS = ("sex", "gender", "mf", "sexmf")
_SEXES = {"f": "F", "female": "F", "woman": "F", "m": "M", "male": "M", "man": "M"}
_MISSING = {"", "n/a", "na", "nan", "none", "null", "-", ".", "missing", "unknown", "other", "o"}


@dataclass(frozen=True)
class Table:
    """What tables know of subjects.

    Attributes
    ----------
    rows
        By subject and session; the session is '' for what is true of all sessions.
    notes
        What could not be read, a sentence each.
    """

    rows: Mapping[tuple[str, str], Participant]
    notes: tuple[str, ...] = ()


EMPTY = Table({})


def table_above(folder: Path, subject: str = "") -> Table:
    """Return the nearest tables in a folder or above it: of all participants, and of sessions."""
    participants = sessions = EMPTY
    for parent in (folder, *folder.absolute().parents[: _LEVELS - 1]):
        if not sessions.rows and subject:
            sessions = _read(parent / f"{subject}_sessions.tsv", subject)
        for name in _NAMES:
            path = parent / name
            if path.is_file():
                participants = _read(path)
                rows = {**participants.rows, **sessions.rows}
                return Table(rows, (*participants.notes, *sessions.notes))
    return sessions


def participant_of(subject: str, table: Table, session: str = "") -> Participant:
    """Return what a table knows of a subject in a session.

    It may name the subject in short: IXI012 is IXI012-HH-1211.
    """
    name = subject.removeprefix("sub-")
    ends = [len(name), *(gap.start() for gap in re.finditer(r"[^a-zA-Z0-9]", name))]
    visit = session.removeprefix("ses-")
    for end in sorted(ends, reverse=True):
        short = name[:end]
        known = [table.rows[key] for key in ((short, ""), (short, visit)) if key in table.rows]
        if known:
            return known[0] if len(known) == 1 or not visit else known[0].updated(known[1])
    return UNKNOWN


def session_of(path: Path) -> str:
    """Return the BIDS session that a file's name or folders give, without ``ses-``; else ''."""
    for part in (path.name, *reversed(path.parent.parts)):
        if match := re.search(r"(?:^|_)ses-([a-zA-Z0-9]+)", part):
            return match[1]
    return ""


def parse_participant(row: Mapping[str, str]) -> Participant:
    """Return what is known of a subject, given text by whatever the columns are called."""
    return _parsed_row(row, {})[0]


def _read(path: Path, subject: str = "") -> Table:
    """Read a table of participants, or of the sessions of one subject; an empty one without it."""
    try:
        return _parsed(path, path.stat().st_mtime_ns, subject)
    except OSError:
        return EMPTY


@functools.cache
def _parsed(path: Path, _modified: int, subject: str) -> Table:
    """Parse a table, once for each time that it was changed."""
    try:
        lines = _decoded(path.read_bytes()).splitlines()
        read = csv.DictReader(lines, delimiter=_delimiter(path, lines))
        rows = [{name: text or "" for name, text in row.items() if name} for row in read]
    except (OSError, csv.Error) as error:
        return Table({}, (f"{path.name} is not a table of participants ({error}).",))
    columns = {_plain(column): column for column in (rows[0] if rows else {})}
    if not columns:
        return EMPTY
    first = next(iter(columns.values()))
    who = next((columns[name] for name in _IDS if name in columns), first)
    when = next((columns[name] for name in _SESSION_IDS if name in columns), "")
    units = _units(path.with_suffix(".json"))
    known: dict[tuple[str, str], list[Participant]] = defaultdict(list)
    unread: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        person = (subject or row.get(who, "").strip()).removeprefix("sub-")
        session = row.get(when, "").strip().removeprefix("ses-") if when else ""
        participant, odd = _parsed_row(row, units)
        known[person, session].append(participant)
        for field, text in odd.items():
            unread[field].append(text)
    notes = [
        f"{path.name}: {len(texts)} of {len(rows)} values of {field} could not be read, such as "
        f"{texts[0]!r}."
        for field, texts in unread.items()
    ]
    agreed = {key: _agreed(several) for key, several in known.items()}
    if contradicting := [
        key[0] for key, several in known.items() if several != [agreed[key]] * len(several)
    ]:
        notes.append(
            f"{path.name}: rows of {', '.join(contradicting[:3])} contradict each other and name "
            "no session; what they contradict each other in is not used."
        )
    return Table(agreed, tuple(notes))


def _agreed(rows: Iterable[Participant]) -> Participant:
    """Return what the rows of one subject and session agree in."""
    first, *others = rows
    for other in others:
        differing = {
            name: None
            for name, value in first.known.items()
            if other.known.get(name, value) != value
        }
        missing = {n: v for n, v in other.known.items() if n not in first.known}
        first = replace(first, **missing, **differing)
    return first


def _parsed_row(
    row: Mapping[str, str], units: Mapping[str, float]
) -> tuple[Participant, dict[str, str]]:
    """Return what a row says of a participant, and the texts that are not understood by field."""
    values: dict[str, Any] = {}
    odd: dict[str, str] = {}
    for column, raw in row.items():
        key, text = _plain(column), raw.strip()
        if key in _SEX_COLUMNS:
            if text.lower() in _SEXES:
                values["sex"] = _SEXES[text.lower()]
            elif text.lower() not in _MISSING:
                odd["sex"] = text
        elif key in _NUMBERS:
            field = _NUMBERS[key]
            number = _years(key, text, units) if field == "age" else _number(text)
            if number is not None:
                values[field] = number
            elif text.lower() not in _MISSING:
                odd[field] = text
    return Participant(**values), odd


def _years(key: str, text: str, units: Mapping[str, float]) -> float | None:
    """Return an age in years: ``022Y`` and ``504M`` as in DICOM, ``89+``, or a column's unit."""
    match = _AGE.fullmatch(text)
    if match is None:
        return None
    number = float(match[1].replace(",", "."))
    unit = next((unit for unit, word in _COLUMN_UNITS.items() if word in key), "Y")
    per_year = _A_YEAR[match[2].upper()] if match[2] else units.get(key, _A_YEAR[unit])
    return round(number / per_year, 4)


def _units(sidecar: Path) -> dict[str, float]:
    """Return how many of its units a year has, of the columns whose unit a JSON file gives."""
    try:
        columns = json.loads(sidecar.read_bytes())
        texts = {_plain(name): str(column.get("Units", "")) for name, column in columns.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
    return {
        name: _A_YEAR[text[0].upper()]
        for name, text in texts.items()
        if text[:1].upper() in _A_YEAR and text.lower() not in ("male", "mm")
    }


def _decoded(raw: bytes) -> str:
    """Decode by the mark at the beginning; else UTF-8, or Latin-1, which any bytes are."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _delimiter(path: Path, lines: list[str]) -> str:
    first = lines[0] if lines else ""
    if path.suffix == ".tsv" and "\t" in first:
        return "\t"
    return max(",;\t", key=first.count)


def _plain(column: str) -> str:
    return re.sub(r"[^a-z]", "", column.lower())


def _number(text: str) -> float | None:
    """Return a number that makes sense; None for ``n/a``, an empty field and the like."""
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
