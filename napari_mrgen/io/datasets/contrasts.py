"""T1w and T2w scans, and brain masks, of the same heads: known by their names and folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import Reference, find, scans_in
from napari_mrgen.io.formats import image_info
from napari_mrgen.io.naming import SET_NAME, stem
from napari_mrgen.io.subjects import subject_of, subjects_in

_T1, _T2 = {"t1", "t1w", "t1n", "mprage"}, {"t2", "t2w"}
_OTHER_CONTRAST = {
    "flair", "t2flair", "t2f", "star", "t2star", "map",
    "ce", "gd", "gad", "t1c", "t1ce", "t1gd", "t1post",
}  # fmt: skip
"""Beside T1 or T2 these words name another contrast, such as T2 FLAIR; so do those of BraTS."""
_SEQUENCE = re.compile(r"(?:mpr|spc)\d*")
"""Words of HCP for a T1w and a T2w sequence."""
_DERIVED = re.compile(r"(?:^|_)(?:space|desc|res|label)-[a-zA-Z0-9]+")
_SESSION = re.compile(
    r"(?:^|[_-])(ses-[a-z0-9]+|(?:study|visit|tp|mr|time|timepoint)[_-]?\d+)(?:[_.-]|$)",
    re.IGNORECASE,
)
_SAME_HEAD = {"brain", "mask", "masks", "brainmask", "bet"}
"""Words of which a scan and its mask may have one and the other none."""

Contrast = Literal["t1", "t2", ""]
CONTRASTS = ("t1", "t2")
"""Those of one head that are brought together, which are also the roles of their scans."""
_DOMAINS: Mapping[str, str] = {"a": "t1", "b": "t2"}
Roles = dict[str, tuple[Reference, ...]]


@dataclass(frozen=True)
class ScanName:
    """What tells the T1w and T2w scans and masks of one subject from others of it."""

    session: str
    scan: str
    """The name without its contrast: the same for the scans of one head from one session."""


def contrast_of(path: Path, root: Path | None = None) -> Contrast:
    """Return the contrast that a file's name says; '' where it says none, or another one.

    The first word that names one counts, in BIDS the last: ``sub-1_acq-T1_T2w`` is T2w. Where the
    name is silent, the nearest folder below ``root`` that names one alone speaks.

    Examples
    --------
    >>> [contrast_of(Path(name)) for name in ("p1_T1W.nii", "sub-1_acq-T1_T2w.nii", "p1_FLAIR.nii")]
    ['t1', 't2', '']
    """
    words = _words(_DERIVED.sub("", stem(path)))
    if _OTHER_CONTRAST.intersection(words):
        return ""
    if path.name.startswith("sub-"):
        words.reverse()
    if named := _contrasts(words):
        return named[0]
    within = path.relative_to(root).parent.parts if root else ()
    folders = (_contrasts(_words(part)) for part in reversed(within))
    return next((contrasts[0] for contrasts in folders if len(contrasts) == 1), "")


def has_contrast(path: Path, contrast: str) -> bool | None:
    """Whether an image has this contrast by its name; None where that says none."""
    named = contrast_of(path)
    return named == contrast if named else None


def _contrasts(words: list[str]) -> list[Contrast]:
    named: list[Contrast] = ["t1" if word in _T1 else "t2" for word in words if word in _T1 | _T2]
    return named


def is_brain_mask_name(path: Path) -> bool:
    """Whether a label map's name says that it is a mask, and of no lesion or vessel."""
    words = set(re.findall(r"[a-z]+", stem(path).lower()))
    is_mask = not words.isdisjoint({"mask", "masks", "brainmask"})
    return is_mask and words.isdisjoint({"lesion", "lesions", "tumor", "tumour", "vessel"})


def scan_of(path: Path) -> ScanName:
    """Tell which scan of its subject a file is; T1w, T2w and mask of one head have one name."""
    places = (stem(path), *(folder.name for folder in path.parents[:3]))
    session = next((match[1].lower() for p in places if (match := _SESSION.search(p))), "")
    return ScanName(session, _plain(stem(path)) or subject_of(path))


def _plain(name: str) -> str:
    """Take contrast, mask and what BIDS adds to derivatives out of a name."""
    words = re.split(r"([_\-. ]+)", _DERIVED.sub("", name))
    dropped = _T1 | _T2 | _SAME_HEAD
    rest = [
        words[i - 1] * bool(i) + words[i]
        for i in range(0, len(words), 2)
        if words[i].lower() not in dropped and not _SEQUENCE.fullmatch(words[i].lower())
    ]
    return "".join(rest).strip("_-. ")


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())


def find_pairs(folder: Path, _role: str = "", _axes: tuple[str, ...] = ()) -> Roles:
    """Return the scans of a folder by role: ``t1``, ``t2`` and ``mask``, those that there are.

    Folders ``trainA trainB testA testB``, where A is T1w; a BIDS data set; or any folder whose
    names say T1 and T2. Other contrasts, and images of more than one volume, are left out.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MrgenError(f"{folder} is not a folder; give the folder that holds both contrasts.")
    domains = _domain_folders(folder)
    roles = _of_domains(domains) if domains else _of_names(folder)
    if not roles["t1"] and not roles["t2"]:
        msg = (
            f"There is no T1w or T2w volume in {folder}; expected the folders trainA and trainB, "
            "a BIDS data set, or file names that say T1 and T2."
        )
        raise MrgenError(msg)
    roles["mask"] = _references([p for p in scans_in(folder) if is_brain_mask_name(p)], folder)
    return {name: tuple(scans) for name, scans in roles.items() if scans}


def find_contrast(path: Path, contrast: str, axes: tuple[str, ...]) -> Roles:
    """Return the scans at a path for one contrast.

    Of a folder those are left out whose names say another contrast; a file is taken as it is.
    """
    scans = find(path, axes)
    fitting = [
        scan
        for scan in scans
        if not path.is_dir() or contrast_of(scan.path, path) in ("", contrast)
    ]
    if not fitting:
        msg = f"By their names all scans in {path} have another contrast than {contrast.upper()}w."
        raise MrgenError(msg)
    return {contrast: tuple(fitting)}


def find_masks(path: Path, role: str = "mask", axes: tuple[str, ...] = ("zyx",)) -> Roles:
    """Return the masks at a path: one file, or of a folder those that are called so, else all."""
    if not path.is_dir():
        return {role: find(path, axes)}
    files = scans_in(path)
    return {role: tuple(_references([f for f in files if is_brain_mask_name(f)] or files, path))}


def _references(files: Sequence[Path], folder: Path) -> list[Reference]:
    """Refer to the volumes among files, whose subjects are those of the scans beside them."""
    subjects = subjects_in(scans_in(folder), folder)
    return [
        Reference(file, subjects[file].name, why_subject=subjects[file].why)
        for file in files
        if _is_volume(file)
    ]


def _domain_folders(folder: Path) -> list[Path]:
    """Return the folders ``trainA`` and the like, if there is one for each contrast."""
    folders = [
        child for child in sorted(folder.iterdir())
        if child.is_dir() and child.name[-1:].lower() in _DOMAINS
        and child.name[:-1].lower() in ("train", "test", "val", "validate", "validation")
    ]  # fmt: skip
    return folders if len({child.name[-1].lower() for child in folders}) == 2 else []


def _of_domains(folders: Sequence[Path]) -> dict[str, list[Reference]]:
    """Return the scans of both contrasts; as many of each, all named otherwise, go by order."""
    roles: dict[str, list[Reference]] = {role: [] for role in CONTRASTS}
    for folder in folders:
        match = SET_NAME.search(folder.name)
        own = match[1].lower() if match and match[1] else ""
        scans = find(folder, ("zyx",)) if scans_in(folder) else ()
        roles[_DOMAINS[folder.name[-1].lower()]] += [replace(scan, set=own) for scan in scans]
    for group in ("train", "test", "val"):
        t1, t2 = (
            sorted((s for s in roles[role] if s.set == group), key=lambda s: s.path.name)
            for role in CONTRASTS
        )
        if len(t1) == len(t2) and {s.subject for s in t1}.isdisjoint(s.subject for s in t2):
            pairs = zip(t1, t2, strict=True)
            why = "order of the files"
            same = [replace(two, subject=one.subject, why_subject=why) for one, two in pairs]
            roles["t2"] = [s for s in roles["t2"] if s not in t2] + same
    return roles


def _of_names(folder: Path) -> dict[str, list[Reference]]:
    """Return the scans of both contrasts."""
    roles: dict[str, list[Reference]] = {role: [] for role in CONTRASTS}
    for scan in find(folder, ("zyx",)):
        if contrast := contrast_of(scan.path, folder):
            roles[contrast].append(scan)
    return roles


def _is_volume(path: Path) -> bool:
    try:
        return image_info(path).axes == "zyx"
    except MrgenError:
        return False
