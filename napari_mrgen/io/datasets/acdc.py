"""The folder of one ACDC patient: a cine, two labelled frames, and ``Info.cfg``.

``patientNNN_4d.nii.gz`` is the cine, ``patientNNN_frameMM.nii.gz`` a frame of it (counted from 1),
``patientNNN_frameMM_gt.nii.gz`` its labels: 1 right ventricle, 2 myocardium, 3 left ventricle.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from napari_mrgen.io.naming import home_of, stem
from napari_mrgen.volume import CardiacCycle, Participant

_FRAME = re.compile(r"(patient\d+)_frame(\d+)(_gt)?$")
_CINE = re.compile(r"(patient\d+)_4d$")


def is_frame(path: Path) -> bool:
    """Whether a file is an ED or ES frame, or its labels."""
    return _FRAME.match(stem(path)) is not None


def is_cine(path: Path) -> bool:
    return _CINE.match(stem(path)) is not None


def frame_of(path: Path) -> int | None:
    """Return the frame that a file was taken from, counted from 0."""
    match = _FRAME.match(stem(path))
    return int(match[2]) - 1 if match else None


def read_info(path: Path) -> dict[str, Any]:
    """Return the ``Info.cfg`` that stands beside a patient's file; {} where there is none.

    As written: ``ED`` and ``ES`` count frames from 1, ``Height`` is in cm, ``Weight`` in kg,
    ``Group`` is the diagnosis. ``ed_frame`` and ``es_frame`` are added, which count from 0.
    """
    config = home_of(path) / "Info.cfg"
    if not (is_frame(path) or is_cine(path)) or not config.is_file():
        return {}
    lines = config.read_text("utf-8", "replace").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    info = {key.strip(): _number(value.strip()) for key, value in pairs}
    for phase in ("ED", "ES"):
        if isinstance(info.get(phase), int):
            info[f"{phase.lower()}_frame"] = info[phase] - 1
    return info


def read_patient(path: Path) -> tuple[Participant, CardiacCycle | None]:
    """Return what ``Info.cfg`` says of the patient and of the heartbeat."""
    info = read_info(path)
    numbers = {key: value for key, value in info.items() if isinstance(value, int | float)}
    patient = Participant(
        diagnosis=str(info["Group"]) if "Group" in info else None,
        height_cm=numbers.get("Height"),
        weight_kg=numbers.get("Weight"),
    )
    ed, es = info.get("ed_frame"), info.get("es_frame")
    return patient, None if ed is None and es is None else CardiacCycle(ed, es)


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
