"""What a file's name says: its kind, its subject, the layer's name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SUFFIXES = (".nii.gz", ".nii", ".hdr.gz", ".img.gz", ".hdr", ".img", ".mgz", ".mgh")

_LABEL_WORDS = {
    "gt", "seg", "dseg", "aseg", "fseg", "segmentation",
    "mask", "masks", "label", "labels", "lesion",
}  # fmt: skip
_CONTRAST = re.compile(r"[_-](4d|t1w?|t2w?|pdw?|flair|bold|cine)$", re.IGNORECASE)
_SUBJECT = re.compile(
    r"(sub-[a-zA-Z0-9]+"  # BIDS
    r"|patient\d+"  # ACDC
    r"|OAS[12]_\d{4}|OAS[34]\d{4}"  # OASIS; MR1 and MR2 are sessions of one subject
    r"|OAI\d{7})"  # Osteoarthritis Initiative; left and right are knees of one subject
)

_SET = re.compile(r"(?:^|_)(train|test|val)(?:id(?:ate|ation))?[AB]?$", re.IGNORECASE)
_HDF5 = re.compile(r"\.(h5|hdf5|mat)$", re.IGNORECASE)
_T1, _T2 = {"t1", "t1w", "mprage"}, {"t2", "t2w"}
_OTHER_CONTRAST = {"flair", "t2flair", "star", "ce", "gd", "gad", "map"}
"""Beside T1 or T2 these words name another contrast, such as T2 FLAIR."""
_DERIVED = re.compile(r"(?:^|_)(?:space|desc|res|label)-[a-zA-Z0-9]+")
_SESSION = re.compile(
    r"(?:^|[_-])(ses-[a-z0-9]+|(?:study|visit|tp|mr|time|timepoint)[_-]?\d+)(?:[_.-]|$)",
    re.IGNORECASE,
)
_SAME_HEAD = {"brain", "mask", "masks", "brainmask", "bet"}
"""Words of which a scan and its mask may have one and the other none."""
_NO_SUBJECT = {"anat", "anatomical", "images", "image", "masks", "mask", "nifti", "nii"}

Contrast = Literal["t1", "t2", ""]
CONTRASTS = ("t1", "t2")
"""Those of one head that are brought together, which are also the roles of their scans."""


@dataclass(frozen=True)
class ScanName:
    """What tells the T1w and T2w scans and masks of one head from those of others."""

    subject: str
    session: str
    scan: str
    """The name without its contrast: the same for the scans of one head from one session."""
    set: str
    """``train``, ``test`` or ``val`` where a folder says so, else ''."""


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
    words = re.findall(r"[a-z]+", stem(path).lower())
    return bool(words) and words[-1] in _LABEL_WORDS


def image_stem(path: Path) -> str:
    """Return the stem of the image that a label map names: its own without the last word."""
    return re.sub(r"[^a-zA-Z0-9]*[a-zA-Z]+[^a-zA-Z]*$", "", stem(path))


def subject_of(path: Path) -> str:
    """Return the subject by the naming of BIDS, ACDC, OASIS or OAI, of the file or its folders.

    Otherwise the name without its contrast: ``IXI012_T1`` and ``IXI012_T2`` are one subject.
    """
    return named_subject(path) or _CONTRAST.sub("", stem(path))


def named_subject(path: Path) -> str | None:
    """Return the subject that a file or one of its folders names; None where none does."""
    parts = (stem(path), *reversed(path.parent.parts))
    return next((found[1] for part in parts if (found := _SUBJECT.match(part))), None)


def plain_subject(path: Path) -> str:
    """Return the subject that a file or its folders name; else all of its name but the suffix."""
    return named_subject(path) or path.stem


def is_label_folder(folder: Path) -> bool:
    """Whether a word of a folder's name says that label maps are in it."""
    return not _LABEL_WORDS.isdisjoint(re.findall(r"[a-z]+", folder.name.lower()))


# ---- T1w and T2w --------------------------------------------------------------------------------


def contrast_of(path: Path, root: Path | None = None) -> Contrast:
    """Return the contrast that a file's name says; '' where it says none, or another one.

    The first word that names one counts, in BIDS the last: ``sub-1_acq-T1_T2w`` is T2w. Where the
    name is silent, the nearest folder below ``root`` that names one alone speaks.
    """
    words = _words(_DERIVED.sub("", stem(path)))
    if _OTHER_CONTRAST.intersection(words):
        return ""
    if path.name.startswith("sub-"):
        words.reverse()
    if found := _contrasts(words):
        return found[0]
    within = path.relative_to(root).parent.parts if root else ()
    said = (_contrasts(_words(part)) for part in reversed(within))
    return next((contrasts[0] for contrasts in said if len(contrasts) == 1), "")


def _contrasts(words: list[str]) -> list[Contrast]:
    named: list[Contrast] = ["t1" if word in _T1 else "t2" for word in words if word in _T1 | _T2]
    return named


def is_brain_mask_name(path: Path) -> bool:
    """Whether a label map's name says that it is a mask, and of no lesion or vessel."""
    words = set(re.findall(r"[a-z]+", stem(path).lower()))
    is_mask = not words.isdisjoint({"mask", "masks", "brainmask"})
    return is_mask and words.isdisjoint({"lesion", "lesions", "tumor", "tumour", "vessel"})


def set_of(path: Path) -> str:
    """Return train, test or val, by the nearest folder that says so; '' where none does.

    An HDF5 file counts as the folder of the series in it.
    """
    folders = (_SET.search(_HDF5.sub("", folder.name)) for folder in path.absolute().parents)
    return next((found[1].lower() for found in folders if found), "")


def scan_of(path: Path) -> ScanName:
    """Tell whose scan a file is, so that T1w, T2w and mask of one head have one name."""
    name = _plain(stem(path))
    subject = named_subject(path) or _CONTRAST.sub("", name) or _folder_subject(path)
    places = (stem(path), *(folder.name for folder in path.parents[:3]))
    session = next((found[1].lower() for p in places if (found := _SESSION.search(p))), "")
    return ScanName(subject, session, name or subject, set_of(path))


def _plain(name: str) -> str:
    """Take contrast, mask and what BIDS adds to derivatives out of a name."""
    words = re.split(r"([_\-. ]+)", _DERIVED.sub("", name))
    dropped = _T1 | _T2 | _SAME_HEAD
    kept = [
        words[i - 1] * bool(i) + words[i]
        for i in range(0, len(words), 2)
        if words[i].lower() not in dropped
    ]
    return "".join(kept).strip("_-. ")


def _folder_subject(path: Path) -> str:
    """Return the nearest folder that is called after more than what is in it."""
    names = (folder.name for folder in path.parents)
    fitting = (
        n for n in names if _plain(n) and n.lower() not in _NO_SUBJECT and not _SET.search(n)
    )
    return next(fitting, stem(path))


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())
