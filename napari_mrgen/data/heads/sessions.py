"""Which T1w and T2w scans are of the same head, and whether they lie voxel on voxel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_mrgen.data.heads.brain import Mask, brain_mask, is_stripped
from napari_mrgen.data.heads.registration import field_of_view, is_same_grid, onto_grid
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import Reference
from napari_mrgen.io.masks import mask_on_grid
from napari_mrgen.io.naming import CONTRASTS, is_brain_mask_name, scan_of
from napari_mrgen.volume import Volume

Relation = Literal["same grid", "aligned in scanner coordinates", "not aligned", "unpaired"]

BORDER = 1.03
"""Masked normalised mutual information below this is that of no pair.

On Open MS data aligned pairs have 1.076 to 1.095, pairs shifted by 6 mm 1.007 to 1.012, and scans
of two subjects in one space 1.002 to 1.011.
"""
_BINS, _FEWEST, _MOST = 64, 500, 1_000_000


@dataclass(frozen=True)
class Pair:
    """The scans of one head from one session; one of them may be missing."""

    subject: str
    t1: Reference | None
    t2: Reference | None
    mask: Reference | None = None
    name: str = ""
    """The subject, and the session where it has several."""
    note: str = ""
    """What a user should know of how these two were put together."""

    @property
    def is_whole(self) -> bool:
        return self.t1 is not None and self.t2 is not None


@dataclass(frozen=True)
class PairCheck:
    """How the two scans of a pair lie, as it is shown before a training."""

    subject: str
    relation: Relation
    similarity: float | None
    """Masked normalised mutual information; None where there is only one scan."""
    advice: str

    @property
    def is_pair(self) -> bool:
        return self.relation in ("same grid", "aligned in scanner coordinates")


# ---- by name ------------------------------------------------------------------------------------


def pairs_of(inputs: Inputs) -> tuple[Pair, ...]:
    """Pair up the scans of a training, of all subjects."""
    roles = (inputs.references.get(role, ()) for role in (*CONTRASTS, "mask"))
    return pair_up(*roles)


def pair_up(
    inputs_t1: Sequence[Reference], inputs_t2: Sequence[Reference], masks: Sequence[Reference] = ()
) -> tuple[Pair, ...]:
    """Pair scans of the same subject, sorted by subject.

    Of a subject with several scans those are a pair whose names differ by the contrast alone, then
    those of the same session if there is one of each. The rest stays without a partner.
    """
    groups: dict[str, tuple[list[Reference], list[Reference], list[Reference]]]
    groups = defaultdict(lambda: ([], [], []))
    for kind, references in enumerate((inputs_t1, inputs_t2, masks)):
        for reference in references:
            groups[reference.subject][kind].append(reference)
    return tuple(
        pair
        for subject, (t1, t2, own) in sorted(groups.items())
        for pair in _named(subject, _pairs_of_subject(subject, t1, t2), own)
    )


def _pairs_of_subject(subject: str, t1: list[Reference], t2: list[Reference]) -> list[Pair]:
    pairs: list[Pair] = []
    left, right = list(t1), list(t2)
    for key in (_scan_key, _session_key, _subject_key):
        for one, other in _matches(left, right, key):
            left.remove(one)
            right.remove(other)
            pairs.append(Pair(subject, one, other, note=_note(one, other, key)))
    pairs += [Pair(subject, one, None) for one in left]
    pairs += [Pair(subject, None, other) for other in right]
    return pairs


def _matches(
    left: list[Reference], right: list[Reference], key: Any
) -> list[tuple[Reference, Reference]]:
    """Return the scans of both sides that are the only ones with a key there."""
    sides: tuple[dict[Any, list[Reference]], ...] = (defaultdict(list), defaultdict(list))
    for side, references in zip(sides, (left, right), strict=True):
        for reference in references:
            side[key(reference)].append(reference)
    one, other = sides
    return [
        (found[0], other[name][0])
        for name, found in one.items()
        if len(found) == 1 and len(other.get(name, ())) == 1
    ]


def _scan_key(reference: Reference) -> tuple[str, str]:
    name = scan_of(reference.path)
    return name.set, name.scan


def _session_key(reference: Reference) -> tuple[str, str]:
    name = scan_of(reference.path)
    return name.set, name.session


def _subject_key(reference: Reference) -> str:
    return reference.subject


def _note(one: Reference, other: Reference, key: Any) -> str:
    """Say where two files were paired by their order, or as the only ones of a subject."""
    names = f"{one.path.name} and {other.path.name}"
    subjects = {scan_of(reference.path).subject for reference in (one, other)}
    if len(subjects) > 1:
        return f"{names} are paired by the order of the files: their names do not match."
    if key is _subject_key:
        return f"{names} are paired as the only ones left of {one.subject}."
    return ""


def _named(subject: str, pairs: list[Pair], masks: list[Reference]) -> list[Pair]:
    """Give each pair of a subject a name of its own, and its mask."""
    named: list[Pair] = []
    for pair in pairs:
        scan = pair.t1 or pair.t2
        if scan is None:
            continue
        name = subject if len(pairs) == 1 else scan_of(scan.path).scan
        taken = {other.name for other in named}
        if name in taken:
            name = next(
                f"{name}-{n}" for n in range(2, len(pairs) + 2) if f"{name}-{n}" not in taken
            )
        named.append(replace(pair, name=name, mask=_mask_for(pair, scan, masks, len(pairs))))
    return named


def _mask_for(pair: Pair, scan: Reference, masks: list[Reference], pairs: int) -> Reference | None:
    """Return the mask of the scan's name, of its session, or the only one of the subject."""
    for key in (_scan_key, _session_key):
        fitting = [mask for mask in masks if key(mask) == key(scan)]
        if fitting:
            return fitting[0]
    if masks and pairs == 1:
        return masks[0]
    for own in (pair.t1, pair.t2):
        found = [label for label in own.labels if is_brain_mask_name(label)] if own else []
        if own is not None and found:
            return replace(own, path=found[0], labels=(), slices=())
    return None


# ---- by their voxels ----------------------------------------------------------------------------


def check_pair(pair: Pair) -> PairCheck:
    """Read both scans of a pair and tell how they lie; nothing is changed."""
    if pair.t1 is None or pair.t2 is None:
        return unpaired(pair)
    volumes = {"t1": pair.t1.read(), "t2": pair.t2.read()}
    return check_volumes(pair, volumes, brains(volumes, pair.mask))


def unpaired(pair: Pair) -> PairCheck:
    """Return the check of a pair that has one scan only."""
    there, missing = ("T1w", "T2w") if pair.t1 is not None else ("T2w", "T1w")
    advice = f"Only a {there} was found, no {missing}: it is trained on as unpaired."
    return PairCheck(pair.name or pair.subject, "unpaired", None, advice)


def check_volumes(
    pair: Pair, volumes: Mapping[str, Volume], outlines: Mapping[str, Volume]
) -> PairCheck:
    """Tell how the scans of a pair lie: by their grids, and by what is in them.

    Both are by contrast; ``outlines`` are masks of the brain, those of `brains`.
    """
    t1, t2 = volumes["t1"], volumes["t2"]
    laid, mask = onto_grid(t2, t1), brain_in(outlines, t1, t2)
    similarity = mutual_information(t1.array, laid.array, mask)
    name = pair.name or pair.subject
    if similarity < BORDER:
        return PairCheck(name, "not aligned", similarity, _no_pair(similarity))
    if is_same_grid(t1, t2):
        return PairCheck(name, "same grid", similarity, pair.note)
    advice = f"{pair.note} The T2w is resampled on the voxels of the T1w.".strip()
    return PairCheck(name, "aligned in scanner coordinates", similarity, advice)


def _no_pair(similarity: float) -> str:
    return (
        f"These do not lie on one another (normalised mutual information {similarity:.3f}; pairs "
        f'have {BORDER} and more). Set unaligned to "register" to align them, or to "unpaired" to '
        "train on both without a pair; or leave this subject out."
    )


# ---- where the brain is -------------------------------------------------------------------------


def brains(volumes: Mapping[str, Volume], given: Reference | None) -> dict[str, Volume]:
    """Return masks of the brain by contrast, each on the voxels of its scan.

    The given one, on the first scan. Else those of the scans without a skull, which know best where
    the brain is; where there are none, that of the first scan.
    """
    first = next(iter(volumes))
    if given is not None:
        return {first: _as_labels(volumes[first], read_mask(given, volumes[first]))}
    stripped = [name for name, volume in volumes.items() if is_stripped(volume)]
    return {
        name: _as_labels(volumes[name], brain_mask(volumes[name])) for name in stripped or [first]
    }


def brain_in(outlines: Mapping[str, Volume], like: Volume, *others: Volume) -> Mask:
    """Mark the voxels of ``like`` that are brain in every mask and that the others have seen."""
    mask = np.ones(like.array.shape, bool)
    for other in others:
        mask &= field_of_view(other, like)
    for outline in outlines.values():
        mask &= onto_grid(outline, like).array > 0
    return mask


def _as_labels(volume: Volume, mask: Mask) -> Volume:
    return replace(volume, array=mask.astype(np.uint8), kind="labels", source=None)


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
    """
    step = max(1, int(mask.sum()) // _MOST)
    first, second = one[mask][::step], other[mask][::step]
    if first.size < _FEWEST:
        return 1.0
    (low, high), (bottom, top) = (np.percentile(values, (0.5, 99.5)) for values in (first, second))
    if low == high or bottom == top:
        return 1.0
    joint, _, _ = np.histogram2d(first.clip(low, high), second.clip(bottom, top), bins=_BINS)
    return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / _entropy(joint)


def _entropy(counts: npt.NDArray[np.float64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
