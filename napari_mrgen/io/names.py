"""What a file's name says: its kind, its subject, the layer's name."""

from __future__ import annotations

import re
from pathlib import Path

SUFFIXES = (".nii.gz", ".nii", ".hdr.gz", ".img.gz", ".hdr", ".img", ".mgz", ".mgh")

_LABEL_WORDS = {"gt", "seg", "dseg", "aseg", "mask", "label", "labels", "segmentation", "lesion"}
_SUBJECT = re.compile(r"(sub-[a-zA-Z0-9]+|patient\d+)")


def suffix_of(path: Path) -> str:
    """Return the MRI suffix of a path in lower case, ``.nii.gz`` as one; '' where it has none."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def stem(path: Path) -> str:
    """Return the name without its MRI suffix; other dots stay."""
    return path.name[: len(path.name) - len(suffix_of(path))] if suffix_of(path) else path.name


def is_label_name(path: Path) -> bool:
    """Whether the last word of the name is one by which label maps are called.

    The data type tells nothing: most MRI is stored in integers.
    """
    return re.split(r"[^a-z]+", stem(path).lower().rstrip("0123456789_-. "))[-1] in _LABEL_WORDS


def subject_of(path: Path) -> str:
    """Return the subject by BIDS or ACDC naming, of the file or its folders; else the stem."""
    for part in (stem(path), *reversed(path.parent.parts)):
        if found := _SUBJECT.match(part):
            return found[1]
    return stem(path)
