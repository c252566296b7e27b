"""From paths by role to the inputs of a training: found, checked and split by subject."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from napari_mrgen.data.inputs import Inputs, LeftOut, Split, split_subjects
from napari_mrgen.engine.family import Family, Input, TrainConfig
from napari_mrgen.errors import MrgenError, unknown
from napari_mrgen.io.contents import content_of, copies_among
from napari_mrgen.io.find import Reference, table_notes
from napari_mrgen.io.formats import fault_of
from napari_mrgen.io.subjects import AUTO, Subject, subjects_in
from napari_mrgen.io.synthetic import is_synthetic, sources_of
from napari_mrgen.wording import count_of

Paths = Mapping[str, Sequence[Path]]
References = dict[str, tuple[Reference, ...]]
_MOST_COPIES = 10
"""Copies that are named; of more their number is said."""
IF_LABELS = "If it is a label map, leave it out."
_NOTHING = "It holds one value everywhere, or none that is finite."
_SYNTHETIC = "A model generated it (train --include-synthetic takes it to train on)."


def gather(
    family: Family,
    paths: Paths,
    config: TrainConfig,
    split_file: Path | None = None,
    *,
    subject_from: str = AUTO,
    include_synthetic: bool = False,
) -> Inputs:
    """Find a training's scans and split their subjects.

    By the file if one is given, else by the data set's own folders (`own_split`), else at random.
    Files that cannot be read, label maps in place of scans, and what a model has generated are left
    out; copies of one image are of one subject.

    Parameters
    ----------
    subject_from
        How subjects are distinguished, see `napari_mrgen.io.subjects.subjects_in`.
    include_synthetic
        Train on generated scans too, but for those whose source is held out.
    """
    found = find_all(family.train_inputs, paths)
    if subject_from != AUTO:
        found = {role: _renamed(scans, paths, subject_from) for role, scans in found.items()}
    labels = {spec.role for spec in family.train_inputs if spec.kind == "labels"}
    references, synthetic, left_out = _sorted_out(found, paths, labels)
    if not include_synthetic:
        left_out += [LeftOut(s.path, _SYNTHETIC) for scans in synthetic.values() for s in scans]
    notes = _notes(left_out)
    family.check_inputs(references)
    references, copies = _with_copies_together(references)
    notes += copies + _label_doubts(references, labels)
    subjects = {scan.subject for scans in references.values() for scan in scans}
    if not subjects:
        roles = ", ".join(spec.role for spec in family.train_inputs)
        reason = f" {notes[0]}" if notes else ""
        raise MrgenError(f"There is nothing to train on; give one of the inputs {roles}.{reason}")
    split = _split(family, references, config, split_file)
    notes += table_notes(scan for scans in references.values() for scan in scans)
    notes += sorted({s.doubt for scans in references.values() for s in scans if s.doubt})
    inputs = Inputs(references, split, tuple(left_out), tuple(notes))
    return _with_synthetic(inputs, synthetic) if include_synthetic else inputs


def _split(
    family: Family, references: References, config: TrainConfig, split_file: Path | None
) -> Split:
    if split_file is None:
        own = own_split(scan for scans in references.values() for scan in scans)
        return own or _random_split(family, references, config)
    split = Split.load(split_file)
    subjects = {scan.subject for scans in references.values() for scan in scans}
    if not subjects.intersection(split.train):
        msg = (
            f"{split_file.name} trains on none of the subjects found ({_some(subjects)}); "
            "give a split file that names them."
        )
        raise MrgenError(msg)
    return split


def find_usable(specs: Sequence[Input], paths: Paths) -> tuple[References, list[LeftOut]]:
    """Find the scans of each role that hold a measured image, and those that do not, with why."""
    labels = {spec.role for spec in specs if spec.kind == "labels"}
    references, synthetic, left_out = _sorted_out(find_all(specs, paths), paths, labels)
    left_out += [LeftOut(s.path, _SYNTHETIC) for scans in synthetic.values() for s in scans]
    return references, left_out


def _sorted_out(
    found: References, paths: Paths, labels: Collection[str]
) -> tuple[References, References, list[LeftOut]]:
    """Part scans that can be trained on from those that a model generated, and from the rest.

    A label map that was given by its own path is taken: the user means it.
    """
    given = {Path(path) for own in paths.values() for path in own}
    scans: References = {}
    synthetic: References = {}
    left_out: list[LeftOut] = []
    for role, references in found.items():
        kept, generated = [], []
        for one in references:
            if fault := fault_of(one.path):
                left_out.append(LeftOut(one.path, fault))
            elif one.kind == "labels" and role not in labels and one.path not in given:
                left_out.append(LeftOut(one.path, "It is a label map by its name."))
            elif role not in labels and content_of(one.path).is_nothing:
                left_out.append(LeftOut(one.path, _NOTHING))
            elif is_synthetic(one.path):
                generated.append(_of_its_source(one, found))
            else:
                kept.append(one)
        scans[role], synthetic[role] = tuple(kept), tuple(generated)
    return scans, synthetic, left_out


def _of_its_source(generated: Reference, found: References) -> Reference:
    """Give a generated scan the subject of the scan that it was generated from, if it is known."""
    names = {scan.path.name: scan.subject for scans in found.values() for scan in scans}
    for subject, name in sources_of(generated.path):
        if source := names.get(name) or subject:
            return replace(generated, subject=source, why_subject="source of the generated image")
    return generated


def _notes(left_out: Sequence[LeftOut]) -> list[str]:
    """Count what is left out by reason, with the first names."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for one in left_out:
        # Most reasons begin with the name of the file.
        reasons[one.why.removeprefix(one.path.name).strip()].append(one.path.name)
    return [
        f"{count_of(len(names), 'file')} left out, {_some(names)}: {why}"
        for why, names in reasons.items()
    ]


def _label_doubts(references: References, labels: Collection[str]) -> list[str]:
    """Ask of images with few whole values whether they are label maps."""
    images = [scan for role, own in references.items() if role not in labels for scan in own]
    few = [scan.path.name for scan in images if content_of(scan.path).few_values]
    if not few:
        return []
    return [f"{count_of(len(few), 'file')}, {_some(few)}: only few whole values. {IF_LABELS}"]


def _with_copies_together(references: References) -> tuple[References, list[str]]:
    """Give copies of one image the subject of the first, and name them."""
    scans = {scan.path: scan for own in references.values() for scan in own if not scan.slices}
    copies = copies_among(scans)
    other = {copy: of for copy, of in copies.items() if scans[copy].subject != scans[of].subject}
    # Two names of one person may each have further scans: all of them are of the first.
    names = {scans[copy].subject: scans[of].subject for copy, of in reversed(list(other.items()))}
    together = {
        role: tuple(
            replace(scan, subject=names[scan.subject], why_subject="equal voxels")
            if scan.subject in names
            else scan
            for scan in own
        )
        for role, own in references.items()
    }
    notes = [
        f"{copy.name} holds the same image as {of.name}; the two are of one subject."
        for copy, of in list(copies.items())[:_MOST_COPIES]
    ]
    if len(copies) > _MOST_COPIES:
        notes.append(f"{len(copies)} files are copies of others.")
    return together, notes


def _with_synthetic(inputs: Inputs, synthetic: References) -> Inputs:
    """Add generated scans to those that are trained on, unless their source is held out."""
    references = dict(inputs.references)
    train, left_out = set(inputs.split.train), list(inputs.left_out)
    for role, scans in synthetic.items():
        kept = []
        for scan in scans:
            if scan.subject in inputs.split.test:
                left_out.append(LeftOut(scan.path, "It was generated from a held-out subject."))
            else:
                train.add(scan.subject)
                kept.append(scan)
        references[role] = (*references.get(role, ()), *kept)
    split = Split(tuple(sorted(train)), inputs.split.test)
    return replace(inputs, references=references, split=split, left_out=tuple(left_out))


def _renamed(
    scans: tuple[Reference, ...], paths: Paths, subject_from: str
) -> tuple[Reference, ...]:
    """Find the subjects of scans anew, by the rule that a user gives."""
    roots = [Path(path) for own in paths.values() for path in own]
    by_root: dict[Path, list[Path]] = defaultdict(list)
    for scan in scans:
        root = next((r for r in roots if r.is_dir() and scan.path.is_relative_to(r)), None)
        by_root[root or scan.path.parent.parent].append(scan.path)
    subjects: dict[Path, Subject] = {}
    for root, own in by_root.items():
        subjects |= subjects_in(own, root, subject_from)
    return tuple(
        replace(scan, subject=one.name, why_subject=one.why, doubt=one.doubt)
        for scan in scans
        for one in [subjects[scan.path]]
    )


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
        sets[scan.set].add(scan.subject)
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


def _some(names: Collection[str], most: int = 3) -> str:
    return ", ".join(sorted(names)[:most]) + (", ..." if len(names) > most else "")
