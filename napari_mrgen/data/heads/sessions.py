"""Scans of one head from one session, and whether they lie voxel on voxel."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_mrgen.data.heads.brain import Mask, brain_mask, is_stripped
from napari_mrgen.data.heads.registration import field_of_view, is_same_grid, onto_grid
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.datasets.contrasts import is_brain_mask_name, scan_of
from napari_mrgen.io.find import Reference
from napari_mrgen.io.masks import mask_on_grid
from napari_mrgen.io.subjects import subject_of
from napari_mrgen.volume import Volume

Relation = Literal["same grid", "aligned in scanner coordinates", "not aligned", "unpaired"]

LEAST_SIMILARITY = 1.03
"""Scans with a lower masked normalised mutual information are not aligned.

On Open MS data aligned pairs have 1.076 to 1.095, pairs shifted by 6 mm 1.007 to 1.012, and scans
of two subjects in one space 1.002 to 1.011.
"""
_BINS, _FEWEST_VOXELS, _MOST_VOXELS = 64, 500, 1_000_000


@dataclass(frozen=True)
class Session:
    """Scans of one head from one session, by contrast."""

    subject: str
    scans: Mapping[str, Reference]
    """The voxel grid of the first is that of all, once they are preprocessed."""
    mask: Reference | None = None
    name: str = ""
    """The subject, and the session where it has several; ``subject`` where not given."""
    note: str = ""
    """What a user should know of how these scans were brought together."""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.subject)

    @property
    def is_paired(self) -> bool:
        """Whether there are scans of two contrasts or more."""
        return len(self.scans) > 1


@dataclass(frozen=True)
class AlignmentCheck:
    """How the scans of a session lie to one another, as it is shown before a training."""

    session: str
    relation: Relation
    similarity: float | None
    """Lowest masked normalised mutual information of a scan with the first; None without others."""
    advice: str

    @property
    def is_aligned(self) -> bool:
        return self.relation in ("same grid", "aligned in scanner coordinates")


def contrast_title(contrast: str) -> str:
    """Return how a contrast is written.

    Examples
    --------
    >>> contrast_title("t1"), contrast_title("flair")
    ('T1w', 'FLAIR')
    """
    return f"{contrast.upper()}w" if contrast in ("t1", "t2", "pd") else contrast.upper()


# ---- by name ------------------------------------------------------------------------------------


def sessions_of(inputs: Inputs, contrasts: Sequence[str]) -> tuple[Session, ...]:
    """Group the scans of a training, of all subjects; the roles are contrasts, and ``mask``."""
    references = inputs.references
    scans = {contrast: references.get(contrast, ()) for contrast in contrasts}
    return group_sessions(scans, references.get("mask", ()))


def group_sessions(
    scans: Mapping[str, Sequence[Reference]], masks: Sequence[Reference] = ()
) -> tuple[Session, ...]:
    """Group scans of several contrasts into sessions, sorted by subject.

    Of a subject with several scans of a contrast those belong together whose names differ by the
    contrast alone, then those of the same session if there is one of each. The rest stays alone.

    Examples
    --------
    >>> from pathlib import Path
    >>> t1 = Reference(Path("sub-1_ses-2_T1w.nii"), "sub-1")
    >>> t2 = Reference(Path("sub-1_ses-2_T2w.nii"), "sub-1")
    >>> (session,) = group_sessions({"t1": [t1], "t2": [t2]})
    >>> session.subject, list(session.scans)
    ('sub-1', ['t1', 't2'])
    """
    singles: dict[str, list[_Group]] = defaultdict(list)
    for contrast, references in scans.items():
        for reference in references:
            singles[reference.subject].append(_Group({contrast: reference}))
    return tuple(
        session
        for subject, own in sorted(singles.items())
        for session in _named(
            subject,
            _grouped(own, list(scans)),
            [mask for mask in masks if mask.subject == subject],
        )
    )


@dataclass(frozen=True)
class _Group:
    scans: dict[str, Reference]
    note: str = ""

    @property
    def first(self) -> Reference:
        return next(iter(self.scans.values()))


def _keys(reference: Reference) -> tuple[object, object, object]:
    """Return what scans of one session have in common, the surest first.

    They are the name without its contrast, the session, and the subject.
    """
    name = scan_of(reference.path)
    return (reference.set, name.scan), (reference.set, name.session), reference.subject


def _grouped(groups: list[_Group], contrasts: Sequence[str]) -> list[_Group]:
    """Join the scans of a subject: by their names, then by session, then what is left."""
    complete: list[_Group] = []
    for number in range(3):
        joined = list(_joined(groups, number, contrasts))
        complete += [group for group in joined if len(group.scans) == len(contrasts)]
        groups = [group for group in joined if len(group.scans) < len(contrasts)]
    return complete + list(_of_several(groups, contrasts))


def _of_several(groups: Sequence[_Group], contrasts: Sequence[str]) -> Iterator[_Group]:
    """Join the first scans of each contrast where a session has several of one; and say so."""
    rest = list(groups)
    while rest:
        key = _keys(rest[0].first)[1]
        same = [group for group in rest if _keys(group.first)[1] == key]
        chosen = {
            c: group for c in reversed(contrasts) for group in reversed(same) if c in group.scans
        }
        rest = [group for group in rest if not any(group is one for one in same)]
        joined = list({id(group): group for group in chosen.values()}.values())
        if len(joined) < 2 or any(len(group.scans) > 1 for group in joined):
            yield from same
            continue
        scans = {
            contrast: chosen[contrast].scans[contrast]
            for contrast in contrasts
            if contrast in chosen
        }
        notes = [
            f"{same[0].first.subject} has {len(several)} {contrast_title(contrast)} scans "
            f"({', '.join(several)}): {scans[contrast].path.name} is paired; to take another, "
            "move this one away or give the files one by one."
            for contrast in scans
            if len(several := [g.scans[contrast].path.name for g in same if contrast in g.scans])
            > 1
        ]
        yield _Group(scans, " ".join(notes))
        yield from (group for group in same if not any(group is one for one in joined))


def _joined(groups: Sequence[_Group], number: int, contrasts: Sequence[str]) -> Iterator[_Group]:
    """Join groups with the same key, where each is the only one of its contrasts there."""
    members: dict[object, list[_Group]] = defaultdict(list)
    for group in groups:
        members[_keys(group.first)[number]].append(group)
    for group in groups:
        same = members[_keys(group.first)[number]]
        counts = Counter(contrast for one in same for contrast in one.scans)
        unique = [one for one in same if all(counts[contrast] == 1 for contrast in one.scans)]
        if len(unique) < 2 or not any(one is group for one in unique):
            yield group
        elif unique[0] is group:
            scans = {c: one.scans[c] for c in contrasts for one in unique if c in one.scans}
            names = " and ".join(scan.path.name for scan in scans.values())
            note = ""
            if len({subject_of(scan.path) for scan in scans.values()}) > 1:
                note = f"{names} are paired by the order of the files: their names do not match."
            elif number == 2:
                note = f"{names} are paired as the only ones left of {group.first.subject}."
            yield _Group(scans, note)


def _named(subject: str, groups: Sequence[_Group], masks: Sequence[Reference]) -> Iterator[Session]:
    """Give each session of a subject a name of its own, and its mask."""
    taken: set[str] = set()
    for group in groups:
        base = name = subject if len(groups) == 1 else scan_of(group.first.path).scan
        number = 1
        while name in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name)
        mask = _mask_of(group, masks, is_only=len(groups) == 1)
        yield Session(subject, group.scans, mask, name, group.note)


def _mask_of(group: _Group, masks: Sequence[Reference], *, is_only: bool) -> Reference | None:
    """Return the mask of the scan's name, of its session, or the only one of the subject."""
    for number in range(2):
        key = _keys(group.first)[number]
        if fitting := [mask for mask in masks if _keys(mask)[number] == key]:
            return fitting[0]
    if masks and is_only:
        return masks[0]
    for scan in group.scans.values():
        for label in filter(is_brain_mask_name, scan.labels):
            return replace(scan, path=label, labels=(), slices=())
    return None


# ---- by their voxels ----------------------------------------------------------------------------


def check_alignment(session: Session) -> AlignmentCheck:
    """Read the scans of a session and compare them; nothing is changed."""
    if not session.is_paired:
        return unpaired(session)
    volumes = {contrast: scan.read() for contrast, scan in session.scans.items()}
    return check_volumes(session, volumes, brain_masks(volumes, session.mask))


def unpaired(session: Session) -> AlignmentCheck:
    """Return the check of a session that has one scan only."""
    (contrast,) = session.scans
    advice = f"Only a {contrast_title(contrast)} was found."
    return AlignmentCheck(session.name, "unpaired", None, advice)


def check_volumes(
    session: Session, volumes: Mapping[str, Volume], masks: Mapping[str, Volume]
) -> AlignmentCheck:
    """Compare each volume with the first: by their grids, and by what is in them.

    Both are by contrast; ``masks`` are those of `brain_masks`.
    """
    first, *others = volumes
    like = volumes[first]
    similarity = min(_similarity(first, other, volumes, masks) for other in others)
    if similarity < LEAST_SIMILARITY:
        advice = (
            "These do not lie on one another (normalised mutual information "
            f"{similarity:.3f}; pairs have {LEAST_SIMILARITY} and more). Set unaligned to "
            '"register" to align them, or to "unpaired" to train on each without a pair; or leave '
            "this subject out."
        )
        return AlignmentCheck(session.name, "not aligned", similarity, advice)
    moved = [c for c in others if not is_same_grid(like, volumes[c])]
    if not moved:
        return AlignmentCheck(session.name, "same grid", similarity, session.note)
    names = " and the ".join(map(contrast_title, moved))
    verb = "is" if len(moved) == 1 else "are"
    advice = f"The {names} {verb} resampled on the voxels of the {contrast_title(first)}."
    advice = f"{session.note} {advice}".strip()
    return AlignmentCheck(session.name, "aligned in scanner coordinates", similarity, advice)


def _similarity(
    first: str, other: str, volumes: Mapping[str, Volume], masks: Mapping[str, Volume]
) -> float:
    one, two = volumes[first], volumes[other]
    own = {contrast: masks[contrast] for contrast in (first, other) if contrast in masks} or masks
    mask = common_brain(own, one, two)
    return mutual_information(one.array, onto_grid(two, one).array, mask)


# ---- where the brain is -------------------------------------------------------------------------


def brain_masks(volumes: Mapping[str, Volume], given: Reference | None) -> dict[str, Volume]:
    """Return masks of the brain by contrast, each on the voxels of its scan.

    A given mask is laid on the first scan. Else each scan without a skull has its own, which is the
    most accurate; where there are none, only the first scan has one.
    """
    first = next(iter(volumes))
    if given is not None:
        masks = {first: read_mask(given, volumes[first])}
    else:
        stripped = [contrast for contrast, volume in volumes.items() if is_stripped(volume)]
        masks = {contrast: brain_mask(volumes[contrast]) for contrast in stripped or [first]}
    return {
        contrast: replace(
            volumes[contrast], array=mask.astype(np.uint8), kind="labels", source=None
        )
        for contrast, mask in masks.items()
    }


def common_brain(masks: Mapping[str, Volume], like: Volume, *others: Volume) -> Mask:
    """Mark the voxels of ``like`` that are brain in every mask and in the others' field of view."""
    common = np.ones(like.array.shape, bool)
    for other in others:
        common &= field_of_view(other, like)
    for mask in masks.values():
        common &= onto_grid(mask, like).array > 0
    return common


def read_mask(reference: Reference, image: Volume) -> Mask:
    """Read a mask on the voxels of an image; one that marks nothing is refused."""
    labels = replace(reference.read(), kind="labels")
    if not np.any(labels.array > 0):
        msg = f"The brain mask {reference.path.name} marks nothing; give another one, or none."
        raise MrgenError(msg)
    return np.asarray(mask_on_grid(labels, image).array > 0)


def mutual_information(one: npt.NDArray[Any], other: npt.NDArray[Any], mask: Mask) -> float:
    """Return the normalised mutual information of two images in a mask, 1 to 2 (Studholme 1999).

    Joint histogram of 64 bins between the 0.5th and the 99.5th percentile of each.

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(size=(20, 20, 20))
    >>> round(mutual_information(image, image, image > -9), 3)
    2.0
    """
    step = max(1, int(mask.sum()) // _MOST_VOXELS)
    first, second = one[mask][::step], other[mask][::step]
    if first.size < _FEWEST_VOXELS:
        return 1.0
    (low, high), (bottom, top) = (np.percentile(values, (0.5, 99.5)) for values in (first, second))
    if low == high or bottom == top:
        return 1.0
    joint, _, _ = np.histogram2d(first.clip(low, high), second.clip(bottom, top), bins=_BINS)

    def entropy(counts: npt.NDArray[np.float64]) -> float:
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log(shares)).sum())

    return (entropy(joint.sum(0)) + entropy(joint.sum(1))) / entropy(joint)
