"""What a file's name says: its kind, its subject, the layer's name."""

from __future__ import annotations

import re
from pathlib import Path

SUFFIXES = (".nii.gz", ".nii", ".hdr.gz", ".img.gz", ".hdr", ".img", ".mgz", ".mgh")

_LABEL_WORDS = {
    "gt", "seg", "dseg", "aseg", "fseg", "segmentation",
    "mask", "masks", "label", "labels", "lesion",
}  # fmt: skip
CONTRAST_SUFFIX = re.compile(r"[_-](4d|t1w?|t2w?|pdw?|flair|bold|cine)$", re.IGNORECASE)
_SUBJECT = re.compile(
    r"(sub-[a-zA-Z0-9]+"  # BIDS
    r"|patient\d+"  # ACDC
    r"|OAS[12]_\d{4}|OAS[34]\d{4}"  # OASIS; MR1 and MR2 are sessions of one subject
    r"|OAI\d{7})"  # Osteoarthritis Initiative; left and right are knees of one subject
)

SET_NAME = re.compile(r"(?:^|_)(train|test|val)(?:id(?:ate|ation))?[AB]?$", re.IGNORECASE)
_HDF5 = re.compile(r"\.(h5|hdf5|mat)$", re.IGNORECASE)


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

    Examples
    --------
    >>> [subject_of(Path(name)) for name in ("sub-02_ses-1_T1w.nii.gz", "IXI012_T2.nii")]
    ['sub-02', 'IXI012']
    """
    return named_subject(path) or CONTRAST_SUFFIX.sub("", stem(path))


def named_subject(path: Path) -> str | None:
    """Return the subject that a file or one of its folders names; None where none does."""
    parts = (stem(path), *reversed(path.parent.parts))
    return next((match[1] for part in parts if (match := _SUBJECT.match(part))), None)


def plain_subject(path: Path) -> str:
    """Return the subject that a file or its folders name; else all of its name but the suffix."""
    return named_subject(path) or path.stem


def is_label_folder(folder: Path) -> bool:
    """Whether a word of a folder's name says that label maps are in it."""
    return not _LABEL_WORDS.isdisjoint(re.findall(r"[a-z]+", folder.name.lower()))


def set_of(path: Path) -> str:
    """Return train, test or val, by the nearest folder that says so; '' where none does.

    An HDF5 file counts as the folder of the series in it.
    """
    folders = (SET_NAME.search(_HDF5.sub("", folder.name)) for folder in path.absolute().parents)
    return next((match[1].lower() for match in folders if match), "")
