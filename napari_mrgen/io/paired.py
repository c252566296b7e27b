"""Find T1w and T2w scans, and brain masks, that lie together in one folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference, find, scans_in
from napari_mrgen.io.naming import (
    CONTRASTS,
    contrast_of,
    is_brain_mask_name,
    named_subject,
    scan_of,
    set_of,
)

_DOMAINS: Mapping[str, str] = {"a": "t1", "b": "t2"}
Roles = dict[str, tuple[Reference, ...]]


def find_pairs(folder: Path) -> Roles:
    """Return the scans of a folder by role: ``t1``, ``t2`` and ``mask``, those that there are.

    Folders ``trainA trainB testA testB``, where A is T1w; a BIDS data set; or any folder whose
    names say T1 and T2. Other contrasts, and images of more than one volume, are left out.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MrgenError(f"{folder} is no folder; give the folder that holds both contrasts.")
    domains = _domain_folders(folder)
    roles = _of_domains(domains) if domains else _of_names(folder)
    if not roles["t1"] and not roles["t2"]:
        msg = (
            f"There is no T1w or T2w volume in {folder}; expected the folders trainA and trainB, "
            "a BIDS data set, or file names that say T1 and T2."
        )
        raise MrgenError(msg)
    masks = [path for path in scans_in(folder) if is_brain_mask_name(path) and _is_volume(path)]
    roles["mask"] = [Reference(path, scan_of(path).subject) for path in masks]
    return {role: tuple(scans) for role, scans in roles.items() if scans}


def find_contrast(path: Path, contrast: str, axes: tuple[str, ...]) -> tuple[Reference, ...]:
    """Return the scans at a path for one contrast, their subjects named without it.

    Of a folder those are left out whose names say another contrast; a file is taken as it is.
    """
    scans = find(path, axes)
    fitting = [
        replace(scan, subject=scan_of(scan.path).subject)
        for scan in scans
        if not path.is_dir() or contrast_of(scan.path, path) in ("", contrast)
    ]
    if not fitting:
        msg = f"By their names all scans in {path} have another contrast than {contrast.upper()}w."
        raise MrgenError(msg)
    return tuple(fitting)


def masks_in(path: Path) -> tuple[Reference, ...]:
    """Return the masks at a path: one file, or of a folder those that are called so, else all."""
    files = scans_in(path) if path.is_dir() else [path]
    volumes = [file for file in files if _is_volume(file)]
    named = [file for file in volumes if is_brain_mask_name(file)] or volumes
    return tuple(Reference(file, scan_of(file).subject) for file in named)


def _domain_folders(folder: Path) -> list[Path]:
    """Return the folders ``trainA`` and the like, if there is one for each contrast."""
    found = [
        child for child in sorted(folder.iterdir())
        if child.is_dir() and child.name[-1:].lower() in _DOMAINS
        and child.name[:-1].lower() in ("train", "test", "val", "validate", "validation")
    ]  # fmt: skip
    return found if len({child.name[-1].lower() for child in found}) == 2 else []


def _of_domains(folders: Sequence[Path]) -> dict[str, list[Reference]]:
    roles: dict[str, list[Reference]] = {role: [] for role in CONTRASTS}
    for folder in folders:
        role = _DOMAINS[folder.name[-1].lower()]
        scans = find(folder, ("zyx",)) if scans_in(folder) else ()
        roles[role] += [replace(scan, subject=scan_of(scan.path).subject) for scan in scans]
    for group in ("train", "test", "val"):
        t1, t2 = ([s for s in roles[role] if set_of(s.path) == group] for role in CONTRASTS)
        if len(t1) == len(t2) and {s.subject for s in t1}.isdisjoint(s.subject for s in t2):
            roles["t2"] = [s for s in roles["t2"] if s not in t2] + _in_order(t1, t2)
    return roles


def _in_order(t1: list[Reference], t2: list[Reference]) -> list[Reference]:
    """Give the T2w scans the subjects of the T1w scans, both sorted by name."""
    sides = (sorted(side, key=lambda scan: scan.path.name) for side in (t1, t2))
    return [replace(other, subject=one.subject) for one, other in zip(*sides, strict=True)]


def _of_names(folder: Path) -> dict[str, list[Reference]]:
    roles: dict[str, list[Reference]] = {role: [] for role in CONTRASTS}
    for scan in find(folder, ("zyx",)):
        if contrast := contrast_of(scan.path, folder):
            roles[contrast].append(replace(scan, subject=scan_of(scan.path).subject))
    return {role: _told_apart(folder, scans) for role, scans in roles.items()}


def _told_apart(root: Path, scans: list[Reference]) -> list[Reference]:
    """Name subjects by folder where files of the same name lie in several: ``1/T1/scan.nii``."""
    same: dict[str, list[Reference]] = defaultdict(list)
    for scan in scans:
        same[scan.subject].append(scan)
    return [
        scan
        if len(same[scan.subject]) == 1 or named_subject(scan.path)
        else replace(scan, subject=_from_folder(root, scan))
        for scan in scans
    ]


def _from_folder(root: Path, scan: Reference) -> str:
    within = scan.path.relative_to(root).parent.parts
    words = [part for part in within if not contrast_of(Path(part))]
    return "-".join((*words, scan.subject)) if words else scan.subject


def _is_volume(path: Path) -> bool:
    try:
        return nifti.info(path).axes == "zyx"
    except MrgenError:
        return False
