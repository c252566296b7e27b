"""What a file's name says: its format, whether it holds labels, and the set that it is of."""

from __future__ import annotations

import re
from pathlib import Path

SUFFIXES = (".nii.gz", ".nii", ".hdr.gz", ".img.gz", ".hdr", ".img", ".mgz", ".mgh")

LABEL_WORDS = frozenset({
    "gt", "seg", "segs", "dseg", "aseg", "fseg", "probseg", "pveseg", "segm", "segmentation",
    "segmentations", "mask", "masks", "brainmask", "label", "labels", "labelmap", "parc",
    "aparc", "wmparc", "parcellation", "ribbon", "annotation", "annotations", "annot",
    "groundtruth",
})  # fmt: skip
"""Words of which one anywhere in a name says that a label map is in the file."""
_LAST_LABEL_WORDS = frozenset({
    "lesion", "lesions", "tumor", "tumors", "tumour", "tumours", "roi", "rois", "manual",
    "contour", "contours", "wm", "gm", "csf", "filled", "vessel", "vessels", "infarct", "scar",
    "consensus", "tissue", "tissues", "structures", "probmap",
})  # fmt: skip
"""Words that say so at the end of a name only: elsewhere they may name a study."""
_BIDS_ENTITIES = re.compile(
    r"(?:^|_)(?:sub|ses|acq|task|run|rec|ce|dir|echo|part|space|res|den|from|to|mode|desc)-[^_]+"
)
_LABEL_ENDS = ("mask", "segmentation", "labelmap")
_OF_IMAGES = frozenset({
    "image", "images", "scan", "scans", "volumes", "with", "and", "data", "project", "study",
})  # fmt: skip
_OF_A_SET = re.compile(r"(labels?|masks?|segs?|segmentations?|gt)(tr|ts|te|val)$")

SET_NAME = re.compile(
    r"(?:^|[_-])(train|test|val)(?:ing|id(?:ate|ation|ating))?[AB]?$|^(?:images|labels)(Tr|Ts|Te|Val)$",
    re.IGNORECASE,
)
_SETS = {"tr": "train", "ts": "test", "te": "test"}
_HDF5 = re.compile(r"\.(h5|hdf5|mat)$", re.IGNORECASE)


def suffix_of(path: Path) -> str:
    """Return the MRI suffix of a path in lower case, ``.nii.gz`` as one; '' where it has none."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def stem(path: Path) -> str:
    """Return the name without its MRI suffix; other dots stay."""
    return path.name[: len(path.name) - len(suffix_of(path))] if suffix_of(path) else path.name


def home_of(path: Path) -> Path:
    """Return the folder that a file belongs to.

    Some programs unpack ``a.nii.gz`` as ``a.nii.gz/a.nii``: then it is the folder around that.
    """
    return path.parent.parent if suffix_of(path.parent) else path.parent


def is_label(path: Path, root: Path | None = None) -> bool:
    """Whether a file holds a label map by its name, or by a folder between ``root`` and it.

    Without ``root`` only a folder says so that is called by nothing else, such as ``labelsTr``. The
    data type tells nothing: most MRI is stored in integers.

    Examples
    --------
    >>> names = ("p1_seg.nii", "labelsTr/p1.nii", "sub-1_T2w_lesion-manual.nii", "lesion_p1_T1.nii")
    >>> [is_label(Path(name)) for name in names]
    [True, True, True, False]
    """
    if is_label_name(path):
        return True
    if root is None:
        return is_label_folder(home_of(path), alone=True)
    return path.is_relative_to(root) and any(
        is_label_folder(Path(part)) for part in path.relative_to(root).parent.parts
    )


def is_label_name(path: Path) -> bool:
    """Whether a file's name has a word by which label maps are called."""
    words = re.findall(r"[a-z]+", _BIDS_ENTITIES.sub("", stem(path)).lower())
    strong = any(word in LABEL_WORDS or word.endswith(_LABEL_ENDS) for word in words)
    return strong or bool(words and words[-1] in _LAST_LABEL_WORDS)


def image_stem(path: Path) -> str:
    """Return the stem of the image that a label map names: its own without the words for labels."""
    parts = re.split(r"([^a-zA-Z0-9]+)", stem(path))
    words = [re.sub(r"[^a-z]", "", part.lower()) for part in parts[::2]]
    is_word = [word in LABEL_WORDS or word.endswith(_LABEL_ENDS) for word in words]
    for place in reversed(range(len(words))):
        # "T2w_lesion-manual": both words at the end.
        if words[place] not in _LAST_LABEL_WORDS and not is_word[place]:
            break
        is_word[place] = True
    kept = [
        (sign, part)
        for sign, part, drop in zip(["", *parts[1::2]], parts[::2], is_word, strict=True)
        if not drop
    ]
    return "".join((sign if number else "") + part for number, (sign, part) in enumerate(kept))


def is_label_folder(folder: Path, *, alone: bool = False) -> bool:
    """Whether a word of a folder's name says that label maps are in it, or with ``alone`` all do.

    One of ``scans_with_masks`` does not.
    """
    words = set(re.findall(r"[a-z]+", folder.name.lower()))
    said = {word for word in words if word in LABEL_WORDS or _OF_A_SET.fullmatch(word)}
    return bool(said) and (words == said if alone else _OF_IMAGES.isdisjoint(words))


def set_of(path: Path, root: Path | None = None) -> str:
    """Return train, test or val, by the nearest folder below ``root`` that says so; else ''.

    An HDF5 file counts as the folder of the series in it. Where a path was given by itself, as
    ``root``, its own name counts.
    """
    folders = [path.parent, *path.parent.parents]
    if root is not None:
        folders = [one for one in folders if one == root or one.is_relative_to(root)]
        below = [one for one in folders if one != root]
        folders = below if root.is_dir() else folders
    names = (SET_NAME.search(_HDF5.sub("", folder.name)) for folder in folders)
    found = next(((match[1] or match[2]).lower() for match in names if match), "")
    return _SETS.get(found, found)
