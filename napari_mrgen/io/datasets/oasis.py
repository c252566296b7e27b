"""OASIS-1 as it is distributed: a folder a session, Analyze 7.5 images, facts in a text file.

``OAS1_0001_MR1`` holds ``RAW``, ``PROCESSED/MPRAGE/SUBJ_111`` (the mean of the raw scans),
``PROCESSED/MPRAGE/T88_111`` (that in the space of Talairach and Tournoux, with and without the
skull) and ``FSL_SEG`` (1 fluid, 2 grey, 3 white matter).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_mrgen.io.datasets.participants import parse_participant
from napari_mrgen.io.geometry import Affine
from napari_mrgen.io.naming import stem
from napari_mrgen.volume import UNKNOWN, Participant

_SESSION = re.compile(r"(OAS1_\d{4}_MR\d+)_mpr")
_DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True)
class Kind:
    """Files of one kind, and how their voxels lie, which Analyze does not say."""

    name: re.Pattern[str]
    axes: str
    """Where ``i j k`` lead to: Left or Right, Anterior or Posterior, Superior or Inferior."""
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    orient: int
    """Analyze's own code: 0 is transverse (LAS), or was never set; 2 is sagittal (ASL)."""


# What the axes rest on. Scans of a subject's own space (RAW, SUBJ_111) are sagittal: i to the
# front, j up, k to the left. A capsule of vitamin E on the subject's left shows it (Marcus et al.
# 2007), brainder.org gives the rows of the affine, Clinica's converter has the same for SUBJ_111,
# and it is what Analyze's orientation code 2 means, which raw headers are reported to hold.
# T88_111, of which FSL_SEG is made, is transverse: i to the left, j to the front, k up. That is
# what code 0 means, also to Washington University's own programs for this atlas (4dfp); no report
# of a marker was found there. The origins are not known: the middle of the image stands for them.
_ATLAS: dict[str, Any] = {"axes": "LAS", "shape": (176, 208, 176), "spacing": (1, 1, 1)}
_KINDS = (
    Kind(re.compile(r"_mpr_n\w+_anon_111_t88_masked_gfc$"), orient=0, **_ATLAS),
    Kind(re.compile(r"_mpr_n\w+_anon_111_t88_gfc$"), orient=0, **_ATLAS),
    Kind(re.compile(r"_mpr_n\w+_anon_sbj_111$"), "ASL", (256, 256, 160), (1, 1, 1), 2),
    Kind(re.compile(r"_mpr-\d+_anon$"), "ASL", (256, 256, 128), (1, 1, 1.25), 2),
    Kind(re.compile(r"_mpr_n\w+_anon_111_t88_masked_gfc_fseg$"), orient=0, **_ATLAS),
)
"""Of the images, the first that a session has stands for it in training."""


def session_of(path: Path) -> str | None:
    """Return the session that a file is of, such as ``OAS1_0001_MR1``."""
    match = _SESSION.match(stem(path))
    return match[1] if match and _rank(path) < len(_KINDS) else None


def affine_of(
    path: Path, shape: tuple[int, ...], spacing: tuple[float, ...], orient: int
) -> Affine | None:
    """Return the affine of an Analyze image that is OASIS by its name and its header, else None.

    Shape and spacing are the stored ones; ``orient`` is the header's orientation code, 0 where it
    was never set.
    """
    if session_of(path) is None:
        return None
    kind = _KINDS[_rank(path)]
    if shape[:3] != kind.shape or not np.allclose(spacing, kind.spacing, atol=1e-3):
        return None
    if orient not in (0, kind.orient):
        return None
    affine = np.zeros((4, 4))
    for axis, letter in enumerate(kind.axes):
        scanner, sign = _DIRECTIONS[letter]
        affine[scanner, axis] = sign * kind.spacing[axis]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(kind.shape) - 1) / 2)
    affine[3, 3] = 1
    return affine


def best_of_sessions(images: Iterable[Path]) -> list[Path]:
    """Keep one image of each session; what is not OASIS stays.

    T88_111 without the skull is preferred, then with it, SUBJ_111, and the first raw scan.
    """
    best: dict[object, Path] = {}
    for path in images:
        session = session_of(path)
        key = path if session is None else (session, _session_folder(path, session))
        if key not in best or (_rank(path), path) < (_rank(best[key]), best[key]):
            best[key] = path
    return list(best.values())


def atlas_key(path: Path) -> tuple[Path, str] | None:
    """Return what the images of T88_111 and their map in FSL_SEG share; None of other files."""
    session = session_of(path)
    if session is None or "_t88_" not in stem(path):
        return None
    return _session_folder(path, session), session


def read_participant(path: Path) -> Participant:
    """Return age, sex, CDR and MMSE from the session's ``.txt`` or else ``.xml``."""
    session = session_of(path)
    if session is None:
        return UNKNOWN
    folder = _session_folder(path, session)
    for suffix, parse in ((".txt", _parse_text), (".xml", _parse_xml)):
        file = folder / f"{session}{suffix}"
        if file.is_file():
            return parse(file, file.stat().st_mtime_ns)
    return UNKNOWN


def _rank(path: Path) -> int:
    name = stem(path)
    return next((i for i, kind in enumerate(_KINDS) if kind.name.search(name)), len(_KINDS))


def _session_folder(path: Path, session: str) -> Path:
    """Return the folder that is named after the session, or else the one that the file is in."""
    return next((parent for parent in path.parents if parent.name == session), path.parent)


@functools.cache
def _parse_text(path: Path, _modified: int) -> Participant:
    lines = path.read_text("utf-8", "replace").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return parse_participant({key.strip(): value for key, value in pairs})


@functools.cache
def _parse_xml(path: Path, _modified: int) -> Participant:
    """Take whatever elements are called age, gender and so on, in any namespace."""
    try:
        elements = ElementTree.parse(path).iter()
        row = {e.tag.rpartition("}")[2]: e.text for e in elements if e.text and e.text.strip()}
    except ElementTree.ParseError:
        return UNKNOWN
    return parse_participant(row)
