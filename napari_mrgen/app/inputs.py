"""From paths by role to the inputs of a training: found, checked and split by subject."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.split import Split, split_subjects
from napari_mrgen.engine.family import Family, Input, TrainConfig
from napari_mrgen.errors import MrgenError, unknown
from napari_mrgen.io.find import Reference, find

Paths = Mapping[str, Sequence[Path]]
References = dict[str, tuple[Reference, ...]]

_SET = re.compile(r"(?:^|_)(train|test|val)(?:id(?:ate|ation))?$", re.IGNORECASE)


def gather(
    family: Family, paths: Paths, config: TrainConfig, split_file: Path | None = None
) -> Inputs:
    """Find a training's scans and split their subjects.

    By the file if one is given, else by the data set's own folders (`own_split`), else at random.
    """
    references = find_all(family.train_inputs, paths)
    subjects = {scan.subject for scans in references.values() for scan in scans}
    if split_file is None:
        own = own_split(scan for scans in references.values() for scan in scans)
        drawn = split_subjects(subjects, config.held_out, config.seed)
        return Inputs(references, own or drawn)
    split = Split.load(split_file)
    if not subjects.intersection(split.train):
        msg = (
            f"{split_file.name} trains on none of the subjects found ({_some(subjects)}); "
            "give a split file that names them."
        )
        raise MrgenError(msg)
    return Inputs(references, split)


def find_all(wanted: Sequence[Input], paths: Paths) -> References:
    """Find the scans of each role; every role that is wanted, and no other."""
    check_roles(wanted, paths)
    found: References = {}
    for asked in wanted:
        given = paths.get(asked.role, ())
        if len(given) > 1 and not asked.many:
            msg = f"The input {asked.role!r} takes one path, got {len(given)}."
            raise MrgenError(msg)
        scans = [scan for path in given for scan in find(path, asked.axes)]
        if scans:
            found[asked.role] = tuple({scan.path: scan for scan in scans}.values())
    return found


def own_split(scans: Iterable[Reference]) -> Split | None:
    """Return the split in which a data set comes, by its folders; None where it has none.

    Folders end in ``train`` and ``test`` or ``validate``, such as ``keras_png_slices_train``. What
    is in ``test`` is held out; what is in ``validate`` only where there is no ``test``, and is else
    left out. A subject in two of them makes the folders no split.
    """
    sets: dict[str, set[str]] = defaultdict(set)
    for scan in scans:
        sets[_set_of(scan.path)].add(scan.subject)
    train, test = sets["train"], sets["test"] or sets["val"]
    if sets[""] or not train or not test or train & test:
        return None
    return Split(train=tuple(sorted(train)), test=tuple(sorted(test)))


def _set_of(path: Path) -> str:
    """Return train, test or val, by the nearest folder that says so; '' where none does."""
    folders = (_SET.search(folder.name) for folder in path.absolute().parents)
    return next((found[1].lower() for found in folders if found), "")


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
