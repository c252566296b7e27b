"""Pairs made ready for training: on one grid, cut to the brain, scaled, and kept on disk."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from napari_mrgen.data.heads.brain import Mask, crop, finite, is_stripped, n4, otsu, union_box
from napari_mrgen.data.heads.cache import (
    PreparedPair,
    ShelfError,
    default_cache,
    key_of,
    load,
    save,
    tidy,
)
from napari_mrgen.data.heads.registration import aligning, moved, onto_grid
from napari_mrgen.data.heads.sessions import (
    Pair,
    PairCheck,
    brain_in,
    brains,
    check_volumes,
    pairs_of,
    unpaired,
)
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.data.progress import Progress
from napari_mrgen.data.scaling import PERCENTILE, Scaling
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Volume

__all__ = ["PrepareSpec", "Prepared", "PreparedPair", "Progress", "prepare", "prepare_inputs"]

Arrays = dict[str, npt.NDArray[Any]]
Affine = npt.NDArray[np.float64]
Way = Literal["as scanned", "registered", "apart"]
Result = TypeVar("Result")
Making = Generator[str, None, Result]
"""Work that says what it is doing, and returns its result."""

_WAYS: Mapping[str, tuple[Way, ...]] = {
    "refuse": ("as scanned",),
    "register": ("as scanned", "registered"),
    "unpaired": ("as scanned", "apart"),
}
"""What may have become of a pair, by what is done with scans that are not aligned."""
_BELOW = 0.25
"""Negative values beyond this share of the range are meant."""


@dataclass(frozen=True)
class PrepareSpec:
    """How pairs are made ready.

    Attributes
    ----------
    unaligned
        What to do with scans that do not lie on one another: refuse the training, register the T2w
        to the T1w, or train on both without a pair.
    bias_correction
        Whether to take the coils' shading out (N4).
    margin_mm
        Room around the brain that is kept.
    """

    unaligned: Literal["refuse", "register", "unpaired"] = "refuse"
    bias_correction: bool = False
    margin_mm: float = 8.0


@dataclass(frozen=True)
class _Work:
    """What is written for one pair: arrays by name, and a record of them."""

    arrays: Arrays
    record: dict[str, Any]
    way: Way


@dataclass(frozen=True)
class Prepared:
    """All that a training needs of its scans.

    ``test`` are the held-out ones; where nothing is held out they are those of ``train``.
    """

    train: tuple[PreparedPair, ...]
    test: tuple[PreparedPair, ...]
    notes: tuple[str, ...] = ()
    """What a user should know, a sentence each."""


def prepare_inputs(
    inputs: Inputs, spec: PrepareSpec, cache: Path | None = None
) -> Iterator[Prepared | Progress]:
    """Pair the scans of a training and make them ready; see `prepare`."""
    yield from prepare(pairs_of(inputs), spec, cache or default_cache(), inputs.split)


def prepare(
    pairs: Sequence[Pair], spec: PrepareSpec, cache: Path, split: Split | None = None
) -> Iterator[Prepared | Progress]:
    """Make pairs ready and yield what is being done, at the end one `Prepared`.

    All pairs are looked at before one that is refused ends it, and what was made is kept. Subjects
    that the split does not name are left out.
    """
    tidy(cache)
    wanted = [pair for pair in pairs if split is None or pair.subject in split.train + split.test]
    ready: list[PreparedPair] = []
    refused: list[str] = []
    for number, pair in enumerate(wanted):
        try:
            for item in _prepare_pair(pair, spec, cache):
                if isinstance(item, str):
                    yield Progress(f"{item} {pair.name or pair.subject}", number, len(wanted))
                else:
                    ready.append(item)
        except ShelfError:
            raise
        except MrgenError as error:
            refused.append(f"{pair.name or pair.subject}: {error}")
    if refused:
        raise MrgenError(_refusal(refused, len(wanted)))
    yield Progress("Data ready", len(wanted), len(wanted))
    yield _parted(ready, split)


def _refusal(refused: list[str], count: int) -> str:
    rest = f" ({len(refused) - 3} more)" if len(refused) > 3 else ""
    if len(refused) == count == 1:
        return refused[0]
    return f"{len(refused)} of {count} pairs cannot be used{rest}. " + " ".join(refused[:3])


def _parted(ready: Sequence[PreparedPair], split: Split | None) -> Prepared:
    if split is None:
        train = test = tuple(ready)
    else:
        train = tuple(pair for pair in ready if pair.subject in split.train)
        test = tuple(pair for pair in ready if pair.subject in split.test) or train
    notes = (f"{pair.name}: {pair.note}" for pair in ready if pair.note)
    return Prepared(train, test, tuple(dict.fromkeys(notes)))


# ---- one pair -----------------------------------------------------------------------------------


def _prepare_pair(pair: Pair, spec: PrepareSpec, cache: Path) -> Iterator[str | PreparedPair]:
    """Yield what is being done with a pair, and then it: two where they are not one."""
    for way in _WAYS[spec.unaligned] if pair.is_whole else _WAYS["refuse"]:
        kept = [load(folder, part) for part, folder in _places(pair, way, spec, cache)]
        if all(kept):
            yield from (found for found in kept if found is not None)
            return
    way = "as scanned"
    try:
        made = [(yield from _made(pair, spec))]
        way = made[0].way
    except _NotAlignedError as error:
        if spec.unaligned != "unpaired":
            raise MrgenError(error.check.advice) from None
        made, way = (yield from _made_apart(pair, spec, error.check)), "apart"
    for (part, folder), work in zip(_places(pair, way, spec, cache), made, strict=True):
        save(folder, work.arrays, work.record)
        written = load(folder, part)
        if written is None:
            raise MrgenError(f"What was written to {folder} cannot be read back; check the disk.")
        yield written


def _places(pair: Pair, way: Way, spec: PrepareSpec, cache: Path) -> list[tuple[Pair, Path]]:
    """Return what becomes of a pair, and where each of it is kept."""
    settings = f"{spec.bias_correction} {spec.margin_mm} {way}"
    return [(part, cache / key_of(part, settings)) for part in _parts(pair, way)]


def _parts(pair: Pair, way: Way) -> tuple[Pair, ...]:
    """Return a pair, or its two scans apart; the mask stays with the first."""
    if way != "apart":
        return (pair,)
    return replace(pair, t2=None), replace(pair, t1=None, mask=None)


def _made_apart(pair: Pair, spec: PrepareSpec, check: PairCheck) -> Making[list[_Work]]:
    note = (
        "T1w and T2w do not lie on one another (normalised mutual information "
        f"{check.similarity:.3f}); they are trained on as unpaired."
    )
    works = []
    for part in _parts(pair, "apart"):
        work = yield from _made(part, spec)
        works.append(replace(work, record={**work.record, "check": asdict(check), "note": note}))
    return works


class _NotAlignedError(Exception):
    def __init__(self, check: PairCheck) -> None:
        super().__init__(check.advice)
        self.check = check


def _made(pair: Pair, spec: PrepareSpec) -> Making[_Work]:
    """Read, align, correct, cut and scale."""
    yield "Reading"
    volumes = {d: _read(r) for d, r in (("t1", pair.t1), ("t2", pair.t2)) if r is not None}
    image = next(iter(volumes.values()))
    yield "Finding the brain of"
    outlines = brains(volumes, pair.mask)
    check, note = unpaired(pair), ""
    if len(volumes) == 2:
        yield "Comparing"
        check, note = yield from _aligned(pair, spec, volumes, outlines)
    mask = brain_in(outlines, image, *volumes.values())
    boxed = [onto_grid(outline, image).array > 0 for outline in outlines.values()]
    margin = [round(spec.margin_mm / length) for length in image.spacing]
    box = union_box(boxed, (margin[0], margin[1], margin[2]))
    for domain, volume in volumes.items():
        laid = onto_grid(volume, image)
        if spec.bias_correction:
            yield "Correcting the shading of"
            laid = n4(laid, mask)
        volumes[domain] = crop(laid, box)
    yield "Saving"
    arrays, record = _cut(volumes, mask[box.slices])
    sources = [str(r.path) for r in (pair.t1, pair.t2, pair.mask) if r is not None]
    record |= {"check": asdict(check), "note": note, "sources": sources}
    return _Work(arrays, record, "registered" if note else "as scanned")


def _read(reference: Reference) -> Volume:
    volume = reference.read()
    return volume.with_array(finite(volume))


def _aligned(
    pair: Pair, spec: PrepareSpec, volumes: dict[str, Volume], outlines: dict[str, Volume]
) -> Making[tuple[PairCheck, str]]:
    """Check a pair, and put the T2w where it lies on the T1w if that is asked for.

    Return how it lay before, and a note if it was registered. What is no pair is refused.
    """
    check = check_volumes(pair, volumes, outlines)
    if check.is_pair:
        return check, ""
    if spec.unaligned != "register":
        raise _NotAlignedError(check)
    rigid = yield from _registering(volumes)
    for found in (volumes, outlines):
        if "t2" in found:
            found["t2"] = moved(found["t2"], rigid)
    after = check_volumes(pair, volumes, outlines)
    if not after.is_pair:
        raise MrgenError(_no_head(after))
    note = (
        f"the T2w was registered to the T1w, moved by {_distance(rigid, volumes['t2']):.1f} mm "
        f"(normalised mutual information {check.similarity:.3f}, now {after.similarity:.3f})."
    )
    return check, note


def _registering(volumes: Mapping[str, Volume]) -> Making[Affine]:
    """Find the rigid matrix that brings the T2w onto the T1w, saying how far it is."""
    steps = aligning(volumes["t1"], volumes["t2"])
    share = 0.0
    while True:
        yield f"Registering ({share:.0%})"
        try:
            share = next(steps)
        except StopIteration as done:
            return np.asarray(done.value)


def _distance(rigid: Affine, volume: Volume) -> float:
    """Return by how much the middle of a volume was moved, in mm."""
    middle = volume.affine @ np.array([*((np.array(volume.array.shape) - 1) / 2), 1])
    return float(np.linalg.norm((middle - np.linalg.inv(rigid) @ middle)[:3]))


def _no_head(after: PairCheck) -> str:
    return (
        "T1w and T2w do not match, even after registration (normalised mutual information "
        f"{after.similarity:.3f}): they seem to be of two heads. Leave them out, or set unaligned "
        'to "unpaired".'
    )


def _cut(volumes: Mapping[str, Volume], mask: Mask) -> tuple[Arrays, dict[str, Any]]:
    """Scale cropped volumes to 0..1; return them with their mask, and a record of them."""
    arrays: Arrays = {"mask": mask.astype(np.uint8)}
    scalings = {domain: scale_of(volume) for domain, volume in volumes.items()}
    for domain, volume in volumes.items():
        arrays[domain] = scalings[domain].apply(volume.array).clip(0, 1)
    first = next(iter(volumes.values()))
    return arrays, {
        "shape": first.array.shape,
        "affine": first.affine.tolist(),
        "scalings": {domain: asdict(scaling) for domain, scaling in scalings.items()},
        "arrays": list(arrays),
    }


def scale_of(volume: Volume) -> Scaling:
    """Fit the scaling of one scan: the 99.5th percentile in the head is 1, and 0 is 0.

    The head is what is not zero where the skull was taken off, else what is brighter than half of
    Otsu's threshold; so air around the head, however much there is, changes nothing. The little
    that resampling leaves below zero counts as nothing; where much is below, as in scores of
    deviation, the 0.5th percentile is 0.
    """
    array = finite(volume)
    head = array != 0 if is_stripped(volume) else array > otsu(array) / 2
    low, high = np.percentile(array[head] if head.any() else array, (0.5, PERCENTILE))
    offset = float(low) if low < -_BELOW * high else 0.0
    high = float(high) if high > offset else float(array.max())
    return Scaling(offset, high - offset if high > offset else 1.0)
