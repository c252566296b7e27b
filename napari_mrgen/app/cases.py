"""The scans of a folder, one by one, each with what else a model is given beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_mrgen.app.inputs import find_all
from napari_mrgen.data.heads.sessions import group_sessions
from napari_mrgen.engine.family import Input
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import Reference, scans_in
from napari_mrgen.io.formats import format_of, image_info
from napari_mrgen.io.naming import is_label_name, stem

Given = Path | Reference


@dataclass(frozen=True)
class Case:
    """One scan of a folder, and what its results are called."""

    scan: Path
    folder: Path
    """Of the results, relative: a tree of folders stays one."""
    name: str
    inputs: Mapping[str, Given] = field(default_factory=dict)
    problem: str = ""
    """Why it cannot be read, where its header says so."""

    @property
    def scan_name(self) -> str:
        return format_of(self.scan).name_of(self.scan)


def folder_role(wanted: Sequence[Input], paths: Mapping[str, Path]) -> str | None:
    """Return the role of the images that are given as a folder; None where they are one file."""
    roles = [one.role for one in wanted if one.kind == "image" and _is_folder(paths.get(one.role))]
    if len(roles) > 1:
        msg = f"Expected one folder of images, got one for {' and one for '.join(roles)}."
        raise MrgenError(msg)
    return roles[0] if roles else None


def find_cases(wanted: Sequence[Input], paths: Mapping[str, Path], out: Path) -> tuple[Case, ...]:
    """Find the scans of a folder, and for each the mask of the same head.

    What is in ``out`` is left out, should it lie in the same folder. A mask that is given as one
    file is for all. Files that cannot be read are cases too, with what is wrong with them.
    """
    role = folder_role(wanted, paths)
    if role is None:
        raise MrgenError("Expected a folder of images, got single files.")
    root = paths[role]
    kinds = {one.role: one for one in wanted}
    asked = [kinds[role], *(one for one in wanted if one.role in paths and one.kind == "labels")]
    folders = {one.role: [paths[one.role]] for one in asked if _is_folder(paths[one.role])}
    found = find_all([one for one in asked if one.role in folders], folders)
    scans = [scan for scan in found[role] if not _is_within(scan.path, out)]
    beside: dict[str, Given] = {r: p for r, p in paths.items() if r != role and r not in folders}
    masks = [(one.role, found.get(one.role, ())) for one in asked[1:]]
    cases = [
        *_of_scans(role, root, scans, masks, beside),
        *_unreadable(kinds[role], root, scans, out),
    ]
    if not cases:
        raise MrgenError(f"There is no scan in {root} beside what lies in {out}.")
    return tuple(_told_apart(cases))


def cases_of(role: str, scans: Sequence[Reference]) -> tuple[Case, ...]:
    """Return scans that were found before, such as those that a training held out."""
    cases = (Case(scan.path, Path(), scan.name, {role: scan}) for scan in scans)
    return tuple(_told_apart(tuple(cases)))


def _of_scans(
    role: str,
    root: Path,
    scans: Sequence[Reference],
    masks: Sequence[tuple[str, Sequence[Reference]]],
    beside: Mapping[str, Given],
) -> Iterator[Case]:
    own: dict[Path, dict[str, Given]] = {scan.path: {} for scan in scans}
    for labels, references in masks:
        for session in group_sessions({role: scans}, references):
            if session.mask is not None:
                own[session.scans[role].path][labels] = session.mask
    for scan in scans:
        inputs = {role: scan, **beside, **own[scan.path]}
        yield Case(scan.path, scan.path.parent.relative_to(root), scan.name, inputs)


def _unreadable(wanted: Input, root: Path, scans: Sequence[Reference], out: Path) -> Iterator[Case]:
    """Yield files that `find_all` leaves out since their header cannot be read."""
    known = {scan.path for scan in scans}
    for path in scans_in(root):
        is_other = wanted.is_named(path) is False
        if path in known or is_other or is_label_name(path) or _is_within(path, out):
            continue
        try:
            image_info(path)
        except MrgenError as error:
            yield Case(path, path.parent.relative_to(root), stem(path), problem=str(error))


def _told_apart(cases: Sequence[Case]) -> Iterator[Case]:
    """Number results that would have the same name, such as of ``a.nii`` and ``a.nii.gz``."""
    seen: Counter[tuple[Path, str]] = Counter()
    for case in cases:
        seen[case.folder, case.name] += 1
        count = seen[case.folder, case.name]
        name = f"{case.name}-{count}" if count > 1 else case.name
        yield Case(case.scan, case.folder, name, case.inputs, case.problem)


def _is_folder(path: Path | None) -> bool:
    return path is not None and path.is_dir()


def _is_within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
