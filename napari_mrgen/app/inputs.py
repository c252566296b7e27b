"""From paths by role to the inputs of a training: found, checked and split by subject."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from napari_mrgen.data.inputs import Inputs, Split, split_subjects
from napari_mrgen.engine.family import Family, Input, TrainConfig
from napari_mrgen.errors import MrgenError, unknown
from napari_mrgen.io.find import Reference
from napari_mrgen.io.naming import set_of

Paths = Mapping[str, Sequence[Path]]
References = dict[str, tuple[Reference, ...]]


def gather(
    family: Family, paths: Paths, config: TrainConfig, split_file: Path | None = None
) -> Inputs:
    """Find a training's scans and split their subjects.

    By the file if one is given, else by the data set's own folders (`own_split`), else at random.
    """
    references = find_all(family.train_inputs, paths)
    family.check_inputs(references)
    subjects = {scan.subject for scans in references.values() for scan in scans}
    if not subjects:
        roles = ", ".join(spec.role for spec in family.train_inputs)
        raise MrgenError(f"There is nothing to train on; give one of the inputs {roles}.")
    if split_file is None:
        own = own_split(scan for scans in references.values() for scan in scans)
        return Inputs(references, own or _random_split(family, references, config))
    split = Split.load(split_file)
    if not subjects.intersection(split.train):
        msg = (
            f"{split_file.name} trains on none of the subjects found ({_some(subjects)}); "
            "give a split file that names them."
        )
        raise MrgenError(msg)
    return Inputs(references, split)


def find_all(specs: Sequence[Input], paths: Paths) -> References:
    """Find the scans of each role.

    A finder may find scans of other roles too, such as the T1w and T2w scans of a folder of pairs.
    """
    check_roles(specs, paths)
    references: dict[str, list[Reference]] = defaultdict(list)
    for spec in specs:
        own_paths = paths.get(spec.role, ())
        if len(own_paths) > 1 and not spec.many:
            msg = f"The input {spec.role!r} takes one path, got {len(own_paths)}."
            raise MrgenError(msg)
        for path in map(Path, own_paths):
            for role, scans in spec.finder(path, spec.role, spec.axes).items():
                references[role] += scans
    return {role: tuple({s.path: s for s in scans}.values()) for role, scans in references.items()}


def _random_split(family: Family, references: References, config: TrainConfig) -> Split:
    """Hold subjects out at random, of those that have all images; the others are trained on.

    Where no subject has, some are held out for each kind of image, so that each can be trained.
    """
    roles = [one.role for one in family.train_inputs if one.kind == "image"]
    images = [references[role] for role in roles if references.get(role)]
    sets = [{scan.subject for scan in scans} for scans in images]
    complete = set.intersection(*sets) if sets else set()
    splits = [
        split_subjects(some, config.held_out, config.seed)
        for some in ([complete] if complete else sets)
    ]
    test = {subject for split in splits for subject in split.test}
    train = set().union(*sets) - test
    return Split(train=tuple(sorted(train)), test=tuple(sorted(test)))


def own_split(scans: Iterable[Reference]) -> Split | None:
    """Return the split that the folders of a data set give, or None.

    Folders end in ``train`` and ``test`` or ``validate``, such as ``keras_png_slices_train``. What
    is in ``test`` is held out; ``validate`` only without ``test``, and is else left out.
    A subject in two of them makes the folders not a split.
    """
    sets: dict[str, set[str]] = defaultdict(set)
    for scan in scans:
        sets[set_of(scan.path)].add(scan.subject)
    train, test = sets["train"], sets["test"] or sets["val"]
    if sets[""] or not train or not test or train & test:
        return None
    return Split(train=tuple(sorted(train)), test=tuple(sorted(test)))


def check_roles(specs: Sequence[Input], sources: Mapping[str, object]) -> None:
    """Refuse an unknown role, and a missing role that is needed."""
    roles = [spec.role for spec in specs]
    for role in sources:
        if role not in roles:
            raise unknown("input", role, roles)
    for spec in specs:
        if not spec.optional and not sources.get(spec.role):
            msg = f"The input {spec.role!r} is missing ({spec.title})."
            raise MrgenError(msg)


def _some(names: set[str], most: int = 3) -> str:
    return ", ".join(sorted(names)[:most]) + (", ..." if len(names) > most else "")
