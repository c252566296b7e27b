"""From paths by role to the inputs of a training: found, checked and split by subject."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from napari_mrgen.data.inputs import Inputs, Split, split_subjects
from napari_mrgen.engine.family import Family, Input, TrainConfig
from napari_mrgen.errors import MrgenError, unknown
from napari_mrgen.io.find import Reference, find, find_series
from napari_mrgen.io.naming import CONTRASTS, set_of
from napari_mrgen.io.paired import find_contrast, find_pairs, masks_in

Paths = Mapping[str, Sequence[Path]]
References = dict[str, tuple[Reference, ...]]

_SERIES = ("undersampled", "truth")
"""Roles that HDF5 files may hold, many series in one."""
_PAIRS = "pairs"
"""The role whose folders hold scans of several other roles, those of `CONTRASTS` at least."""


def gather(
    family: Family, paths: Paths, config: TrainConfig, split_file: Path | None = None
) -> Inputs:
    """Find a training's scans and split their subjects.

    By the file if one is given, else by the data set's own folders (`own_split`), else at random.
    """
    references = find_all(family.train_inputs, paths)
    subjects = {scan.subject for scans in references.values() for scan in scans}
    if not subjects:
        roles = ", ".join(asked.role for asked in family.train_inputs)
        raise MrgenError(f"There is nothing to train on; give one of the inputs {roles}.")
    if split_file is None:
        own = own_split(scan for scans in references.values() for scan in scans)
        return Inputs(references, own or _drawn_split(references, config))
    split = Split.load(split_file)
    if not subjects.intersection(split.train):
        msg = (
            f"{split_file.name} trains on none of the subjects found ({_some(subjects)}); "
            "give a split file that names them."
        )
        raise MrgenError(msg)
    return Inputs(references, split)


def find_all(wanted: Sequence[Input], paths: Paths) -> References:
    """Find the scans of each role; every role that is wanted, and no other.

    The folders of the role ``pairs`` hold scans of ``t1``, ``t2`` and ``mask`` and go into these.
    """
    check_roles(wanted, paths)
    found: dict[str, list[Reference]] = defaultdict(list)
    by_subject = any(asked.role in CONTRASTS for asked in wanted)
    for asked in wanted:
        given = paths.get(asked.role, ())
        if len(given) > 1 and not asked.many:
            msg = f"The input {asked.role!r} takes one path, got {len(given)}."
            raise MrgenError(msg)
        for path in map(Path, given):
            if asked.role == _PAIRS:
                for role, scans in find_pairs(path).items():
                    found[role] += scans
            else:
                found[asked.role] += _find(asked, path, by_subject=by_subject)
    _check_contrasts(wanted, found)
    return {role: tuple({s.path: s for s in scans}.values()) for role, scans in found.items()}


def _find(asked: Input, path: Path, *, by_subject: bool) -> Sequence[Reference]:
    """Find the scans of one role at a path.

    Where contrasts of one head are brought together, subjects are named without their contrast,
    and of a folder with several contrasts only the one is taken that is asked for.
    """
    if by_subject and asked.kind == "labels":
        return masks_in(path)
    if asked.role in CONTRASTS:
        return find_contrast(path, asked.role, asked.axes)
    if asked.role in _SERIES and (found := find_series(path)):
        return found
    return find(path, asked.axes)


def _check_contrasts(wanted: Sequence[Input], found: Mapping[str, Sequence[Reference]]) -> None:
    """Refuse a training on pairs that lacks one of the two contrasts."""
    if not any(asked.role == _PAIRS for asked in wanted):
        return
    missing = [asked.title for asked in wanted if asked.role in CONTRASTS and not found[asked.role]]
    if missing:
        msg = (
            f"There is no scan for {' and '.join(missing)}: give scans of both contrasts, or a "
            "folder with both."
        )
        raise MrgenError(msg)


def _drawn_split(references: References, config: TrainConfig) -> Split:
    """Hold subjects out at random, of those that have all images; the others are trained on.

    Where nobody has, some are held out of each kind of image, so that each is left to train on.
    """
    images = [scans for role, scans in references.items() if role != "mask" and scans]
    sets = [{scan.subject for scan in scans} for scans in images]
    complete = set.intersection(*sets) if sets else set()
    drawn = [
        split_subjects(some, config.held_out, config.seed)
        for some in ([complete] if complete else sets)
    ]
    test = {subject for split in drawn for subject in split.test}
    train = set().union(*sets) - test
    return Split(train=tuple(sorted(train)), test=tuple(sorted(test)))


def own_split(scans: Iterable[Reference]) -> Split | None:
    """Return the split in which a data set comes, by its folders; None where it has none.

    Folders end in ``train`` and ``test`` or ``validate``, such as ``keras_png_slices_train``. What
    is in ``test`` is held out; what is in ``validate`` only where there is no ``test``, and is else
    left out. A subject in two of them makes the folders no split.
    """
    sets: dict[str, set[str]] = defaultdict(set)
    for scan in scans:
        sets[set_of(scan.path)].add(scan.subject)
    train, test = sets["train"], sets["test"] or sets["val"]
    if sets[""] or not train or not test or train & test:
        return None
    return Split(train=tuple(sorted(train)), test=tuple(sorted(test)))


def check_roles(wanted: Sequence[Input], given: Mapping[str, object]) -> None:
    """Refuse a role that is not known, and the lack of one that is needed."""
    roles = [asked.role for asked in wanted]
    for role in given:
        if role not in roles:
            raise unknown("input", role, roles)
    for asked in wanted:
        if not asked.optional and not given.get(asked.role):
            msg = f"The input {asked.role!r} is missing ({asked.title})."
            raise MrgenError(msg)


def _some(names: set[str], most: int = 3) -> str:
    return ", ".join(sorted(names)[:most]) + (", ..." if len(names) > most else "")
