"""Sessions preprocessed for training: on one grid, cut to the brain, scaled, and cached on disk."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from napari_mrgen.data.heads.brain import crop, finite, is_stripped, n4, otsu, union_box
from napari_mrgen.data.heads.cache import (
    CacheError,
    PreprocessedSession,
    cache_key,
    default_cache,
    load_session,
    remove_unused,
    save_session,
)
from napari_mrgen.data.heads.registration import moved, onto_grid, register_rigid
from napari_mrgen.data.heads.sessions import (
    AlignmentCheck,
    Session,
    brain_masks,
    check_volumes,
    common_brain,
    contrast_title,
    sessions_of,
    unpaired,
)
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.data.progress import Progress
from napari_mrgen.data.scaling import PERCENTILE, Scaling
from napari_mrgen.errors import MrgenError
from napari_mrgen.volume import Volume

Affine = npt.NDArray[np.float64]
Outcome = Literal["as scanned", "registered", "separate"]
Result = TypeVar("Result")
Steps = Generator[str, None, Result]
"""Work that yields the name of each of its steps, and returns its result."""

_OUTCOMES: Mapping[str, tuple[Outcome, ...]] = {
    "refuse": ("as scanned",),
    "register": ("as scanned", "registered"),
    "unpaired": ("as scanned", "separate"),
}
"""What may have become of a session, by what is done with scans that are not aligned."""
_NEGATIVE = 0.25
"""Values below zero count as signal where they reach beyond this share of the range."""


@dataclass(frozen=True)
class PreprocessingSpec:
    """How sessions are preprocessed.

    Attributes
    ----------
    unaligned
        What to do with scans that do not lie on one another: refuse the training, register them to
        the first, or train on each without a pair.
    bias_correction
        Whether to correct the shading by the coils (N4).
    margin_mm
        Width of the margin around the brain.
    """

    unaligned: Literal["refuse", "register", "unpaired"] = "refuse"
    bias_correction: bool = False
    margin_mm: float = 8.0


@dataclass(frozen=True)
class PreprocessedData:
    """All that a training needs of its scans.

    ``test`` are the held-out ones; where nothing is held out they are those of ``train``.
    """

    train: tuple[PreprocessedSession, ...]
    test: tuple[PreprocessedSession, ...]
    notes: tuple[str, ...] = ()
    """What a user should know, a sentence each."""


def preprocess_inputs(
    inputs: Inputs, contrasts: Sequence[str], spec: PreprocessingSpec, cache: Path | None = None
) -> Iterator[PreprocessedData | Progress]:
    """Group the scans of a training by session and preprocess them; see `preprocess_sessions`."""
    sessions = sessions_of(inputs, contrasts)
    yield from preprocess_sessions(sessions, spec, cache or default_cache(), inputs.split)


def preprocess_sessions(
    sessions: Sequence[Session], spec: PreprocessingSpec, cache: Path, split: Split | None = None
) -> Iterator[PreprocessedData | Progress]:
    """Yield what is being done with each session, and at the end one `PreprocessedData`.

    All sessions are preprocessed before one that is refused ends it, and the others stay in the
    cache. Subjects that the split does not name are left out.
    """
    remove_unused(cache)
    if split is not None:
        sessions = [one for one in sessions if one.subject in split.train + split.test]
    ready: list[PreprocessedSession] = []
    refused: list[str] = []
    for number, session in enumerate(sessions):
        try:
            for item in _preprocess_session(session, spec, cache):
                if isinstance(item, str):
                    yield Progress(f"{item} {session.name}", number, len(sessions))
                else:
                    ready.append(item)
        except CacheError:
            raise
        except MrgenError as error:
            refused.append(f"{session.name}: {error}")
    if len(refused) == len(sessions) == 1:
        raise MrgenError(refused[0])
    if refused:
        rest = f" ({len(refused) - 3} more)" if len(refused) > 3 else ""
        kind = "pairs" if any(session.is_paired for session in sessions) else "scans"
        msg = f"{len(refused)} of {len(sessions)} {kind} cannot be used{rest}. "
        raise MrgenError(msg + " ".join(refused[:3]))
    yield Progress("Data ready", len(sessions), len(sessions))
    train = test = tuple(ready)
    if split is not None:
        train = tuple(one for one in ready if one.subject in split.train)
        test = tuple(one for one in ready if one.subject in split.test) or train
    notes = (f"{one.name}: {one.note}" for one in ready if one.note)
    yield PreprocessedData(train, test, tuple(dict.fromkeys(notes)))


# ---- one session --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Computed:
    """What is written for one session: arrays by name, and a record of them."""

    arrays: dict[str, npt.NDArray[Any]]
    record: dict[str, Any]
    outcome: Outcome


class _NotAlignedError(Exception):
    def __init__(self, check: AlignmentCheck) -> None:
        super().__init__(check.advice)
        self.check = check


def _preprocess_session(
    session: Session, spec: PreprocessingSpec, cache: Path
) -> Iterator[str | PreprocessedSession]:
    """Yield what is being done, then the session: one for each scan where they are separate."""
    for outcome in _OUTCOMES[spec.unaligned] if session.is_paired else _OUTCOMES["refuse"]:
        cached = [load_session(*place) for place in _places(session, outcome, spec, cache)]
        if all(cached):
            yield from (one for one in cached if one is not None)
            return
    try:
        computed = [(yield from _computed(session, spec))]
    except _NotAlignedError as error:
        if spec.unaligned != "unpaired":
            raise MrgenError(error.check.advice) from None
        computed = yield from _computed_separately(session, spec, error.check)
    places = _places(session, computed[0].outcome, spec, cache)
    for (folder, part), one in zip(places, computed, strict=True):
        save_session(folder, one.arrays, one.record)
        written = load_session(folder, part)
        if written is None:
            raise MrgenError(f"What was written to {folder} cannot be read back; check the disk.")
        yield written


def _places(
    session: Session, outcome: Outcome, spec: PreprocessingSpec, cache: Path
) -> list[tuple[Path, Session]]:
    """Return what becomes of a session, and the folder of each in the cache."""
    settings = f"{spec.bias_correction} {spec.margin_mm} {outcome}"
    parts = _separate(session) if outcome == "separate" else (session,)
    return [(cache / cache_key(part, settings), part) for part in parts]


def _separate(session: Session) -> tuple[Session, ...]:
    """Return a session for each scan; the mask stays with the first."""
    return tuple(
        replace(session, scans={contrast: scan}, mask=None if number else session.mask)
        for number, (contrast, scan) in enumerate(session.scans.items())
    )


def _computed_separately(
    session: Session, spec: PreprocessingSpec, check: AlignmentCheck
) -> Steps[list[_Computed]]:
    names = " and ".join(map(contrast_title, session.scans))
    note = (
        f"{names} do not lie on one another (normalised mutual information "
        f"{check.similarity:.3f}); they are trained on as unpaired."
    )
    results = []
    for part in _separate(session):
        one = yield from _computed(part, spec)
        record = {**one.record, "check": asdict(check), "note": note}
        results.append(replace(one, record=record, outcome="separate"))
    return results


def _computed(session: Session, spec: PreprocessingSpec) -> Steps[_Computed]:
    """Read, align, correct, cut and scale the scans of a session."""
    yield "Reading"
    volumes: dict[str, Volume] = {}
    for contrast, scan in session.scans.items():
        volume = scan.read()
        volumes[contrast] = volume.with_array(finite(volume))
    first = next(iter(volumes.values()))
    yield "Finding the brain of"
    masks = brain_masks(volumes, session.mask)
    check, note = unpaired(session) if not session.is_paired else None, ""
    if check is None:
        yield "Comparing"
        check, note = yield from _aligned(session, spec, volumes, masks)
    brain = common_brain(masks, first, *volumes.values())
    z, y, x = (round(spec.margin_mm / length) for length in first.spacing)
    box = union_box([onto_grid(mask, first).array > 0 for mask in masks.values()], (z, y, x))
    for contrast, volume in volumes.items():
        resampled = onto_grid(volume, first)
        if spec.bias_correction:
            yield "Correcting the shading of"
            resampled = n4(resampled, brain)
        volumes[contrast] = crop(resampled, box)
    yield "Saving"
    scalings = {contrast: head_scaling(volume) for contrast, volume in volumes.items()}
    arrays: dict[str, npt.NDArray[Any]] = {"mask": brain[box.slices].astype(np.uint8)}
    for contrast, volume in volumes.items():
        arrays[contrast] = scalings[contrast].apply(volume.array).clip(0, 1)
    references = (*session.scans.values(), *([session.mask] if session.mask else ()))
    record = {
        "shape": box.shape,
        "affine": next(iter(volumes.values())).affine.tolist(),
        "scalings": {contrast: asdict(scaling) for contrast, scaling in scalings.items()},
        "arrays": list(arrays),
        "check": asdict(check),
        "note": note,
        "sources": [str(reference.path) for reference in references],
    }
    return _Computed(arrays, record, "registered" if note else "as scanned")


def _aligned(
    session: Session,
    spec: PreprocessingSpec,
    volumes: dict[str, Volume],
    masks: dict[str, Volume],
) -> Steps[tuple[AlignmentCheck, str]]:
    """Check how the scans lie, and move those that are off onto the first if that is asked for.

    Return how they lay before, and a note if any was registered. Scans of two heads are refused.
    """
    check = check_volumes(session, volumes, masks)
    if check.is_aligned:
        return check, ""
    if spec.unaligned != "register":
        raise _NotAlignedError(check)
    notes = []
    first, *others = volumes
    for other in others:
        two = {first: volumes[first], other: volumes[other]}
        before = check if len(others) == 1 else check_volumes(session, two, masks)
        if before.is_aligned:
            continue
        rigid = yield from _registered(volumes[first], volumes[other])
        middle = volumes[other].affine @ [*((np.array(volumes[other].array.shape) - 1) / 2), 1]
        distance = np.linalg.norm((rigid @ middle - middle)[:3])
        for of_contrast in (volumes, masks):
            if other in of_contrast:
                of_contrast[other] = moved(of_contrast[other], rigid)
        after = check_volumes(session, {**two, other: volumes[other]}, masks)
        titles = contrast_title(first), contrast_title(other)
        if not after.is_aligned:
            raise MrgenError(
                f"{titles[0]} and {titles[1]} do not match, even after registration (normalised "
                f"mutual information {after.similarity:.3f}): they seem to be of two heads. Leave "
                'them out, or set unaligned to "unpaired".'
            )
        notes.append(
            f"the {titles[1]} was registered to the {titles[0]}, moved by {distance:.1f} mm "
            "(normalised mutual information "
            f"{before.similarity:.3f}, now {after.similarity:.3f})."
        )
    return check, " ".join(notes)


def _registered(fixed: Volume, moving: Volume) -> Steps[Affine]:
    """Return the rigid matrix that brings ``moving`` onto ``fixed``, saying how far it is."""
    steps = register_rigid(fixed, moving)
    share = 0.0
    while True:
        yield f"Registering ({share:.0%})"
        try:
            share = next(steps)
        except StopIteration as done:
            return np.asarray(done.value)


def head_scaling(volume: Volume) -> Scaling:
    """Fit the scaling of one scan: the 99.5th percentile in the head is 1, and 0 is 0.

    The head is what is not zero where the skull was removed, else what is brighter than half of
    Otsu's threshold; so air around the head, however much there is, changes nothing. The little
    that resampling leaves below zero counts as nothing; where much is below, as in z-scores, the
    0.5th percentile is 0.

    Examples
    --------
    >>> ball = np.linalg.norm(np.mgrid[-20:21, -20:21, -20:21], axis=0) < 15
    >>> head = Volume(300 * ball, "zyx", np.eye(4))
    >>> head_scaling(head).scale
    300.0
    """
    array = finite(volume)
    head = array != 0 if is_stripped(volume) else array > otsu(array) / 2
    low, high = np.percentile(array[head] if head.any() else array, (0.5, PERCENTILE))
    offset = float(low) if low < -_NEGATIVE * high else 0.0
    high = float(high) if high > offset else float(array.max())
    return Scaling(offset, high - offset if high > offset else 1.0)
