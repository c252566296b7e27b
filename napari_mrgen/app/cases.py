"""The scans of a folder, each with the other inputs of the model."""

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
from napari_mrgen.io.naming import is_label, stem

Source = Path | Reference


@dataclass(frozen=True)
class Case:
    """One scan of a folder, and what its results are called."""

    scan: Path
    folder: Path
    """Of the results, relative: a tree of folders stays one."""
    name: str
    inputs: Mapping[str, Source] = field(default_factory=dict)
    problem: str = ""
    """Why it cannot be read, where its header says so."""

    @property
    def scan_name(self) -> str:
        return format_of(self.scan).name_of(self.scan)


def folder_role(specs: Sequence[Input], paths: Mapping[str, Path]) -> str | None:
    """Return the role of the images that are given as a folder; None where they are one file."""
    roles = [one.role for one in specs if one.kind == "image" and _is_folder(paths.get(one.role))]
    if len(roles) > 1:
        msg = f"Expected one folder of images, got one for {' and one for '.join(roles)}."
        raise MrgenError(msg)
    return roles[0] if roles else None


def find_cases(specs: Sequence[Input], paths: Mapping[str, Path], out: Path) -> tuple[Case, ...]:
    """Find the scans of a folder, and for each the mask of the same head.

    Scans in ``out`` are left out, should it lie in the same folder. A mask that is given as one
    file is used for all. Files that cannot be read are cases too, with the problem.
    """
    role = folder_role(specs, paths)
    if role is None:
        raise MrgenError("Expected a folder of images, got single files.")
    root = paths[role]
    kinds = {one.role: one for one in specs}
    chosen = [kinds[role], *(one for one in specs if one.role in paths and one.kind == "labels")]
    folders = {one.role: [paths[one.role]] for one in chosen if _is_folder(paths[one.role])}
    references = find_all([one for one in chosen if one.role in folders], folders)
    scans = [scan for scan in references[role] if not _is_within(scan.path, out)]
    others: dict[str, Source] = {r: p for r, p in paths.items() if r != role and r not in folders}
    masks = [(one.role, references.get(one.role, ())) for one in chosen[1:]]
    cases = [
        *_of_scans(role, root, scans, masks, others),
        *_unreadable(kinds[role], root, scans, out),
    ]
    if not cases:
        raise MrgenError(f"There is no scan in {root} other than those in {out}.")
    return tuple(_with_unique_names(cases))


def cases_of(role: str, scans: Sequence[Reference]) -> tuple[Case, ...]:
    """Return scans that were found before, such as those that a training held out."""
    cases = (Case(scan.path, Path(), scan.name, {role: scan}) for scan in scans)
    return tuple(_with_unique_names(tuple(cases)))


def _of_scans(
    role: str,
    root: Path,
    scans: Sequence[Reference],
    masks: Sequence[tuple[str, Sequence[Reference]]],
    others: Mapping[str, Source],
) -> Iterator[Case]:
    own: dict[Path, dict[str, Source]] = {scan.path: {} for scan in scans}
    for labels, references in masks:
        for session in group_sessions({role: scans}, references):
            if session.mask is not None:
                own[session.scans[role].path][labels] = session.mask
    for scan in scans:
        inputs = {role: scan, **others, **own[scan.path]}
        yield Case(scan.path, scan.path.parent.relative_to(root), scan.name, inputs)


def _unreadable(specs: Input, root: Path, scans: Sequence[Reference], out: Path) -> Iterator[Case]:
    """Yield files that `find_all` leaves out since their header cannot be read."""
    known = {scan.path for scan in scans}
    for path in scans_in(root):
        is_other = specs.is_named(path) is False
        if path in known or is_other or is_label(path, root) or _is_within(path, out):
            continue
        try:
            image_info(path)
        except MrgenError as error:
            yield Case(path, path.parent.relative_to(root), stem(path), problem=str(error))


def _with_unique_names(cases: Sequence[Case]) -> Iterator[Case]:
    """Number results that would have the same name, such as of ``a.nii`` and ``a.nii.gz``."""
    counts: Counter[tuple[Path, str]] = Counter()
    for case in cases:
        counts[case.folder, case.name] += 1
        count = counts[case.folder, case.name]
        name = f"{case.name}-{count}" if count > 1 else case.name
        yield Case(case.scan, case.folder, name, case.inputs, case.problem)


def _is_folder(path: Path | None) -> bool:
    return path is not None and path.is_dir()


def _is_within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
