"""The table of pairs before a training: how their scans lie, and what is done with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from napari_mrgen.data.heads.sessions import (
    LEAST_SIMILARITY,
    AlignmentCheck,
    Relation,
    Session,
    check_alignment,
)
from napari_mrgen.data.inputs import Split
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.family import Survey
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.cyclegan.config import CONTRASTS, CycleGanConfig
from napari_mrgen.io.find import Reference

COLUMNS = ("Subject", "T1w", "T2w", "How they lie", "Similarity", "Used for", "What will be done")
"""``Similarity`` is the normalised mutual information in the brain, of `check_alignment`."""

_DONE: dict[Relation, str] = {
    "same grid": "Used as a pair.",
    "aligned in scanner coordinates": "Used as a pair; the T2w is resampled on the T1w's voxels.",
}
_NOT_ALIGNED = {
    "refuse": "Refused: no training starts with it.",
    "register": "The T2w is registered to the T1w (rigidly) before training.",
    "unpaired": "Both are used, but not as a pair.",
}
_MISSING = "–"


def survey_pairs(
    config: CycleGanConfig, pairs: Sequence[Session], split: Split
) -> Iterator[Survey | Progress]:
    """Read every pair that is trained or tested on, say which, and yield the table of all."""
    checked: list[tuple[Session, AlignmentCheck | str]] = []
    for number, pair in enumerate(pairs):
        yield Progress(f"Comparing the scans of {_name(pair)}", number, len(pairs))
        checked.append((pair, _check(pair, split)))
    yield Survey(
        "Pairs of T1w and T2w",
        COLUMNS,
        tuple(_row(pair, check, config, split) for pair, check in checked),
        tuple(_notes([check for _, check in checked], config)),
    )


def _check(pair: Session, split: Split) -> AlignmentCheck | str:
    """Return how a pair lies, or why that cannot be told; one bad file is a row, not the end."""
    if pair.subject not in split.train + split.test:
        return "Left out: the split does not name it."
    try:
        return check_alignment(pair)
    except MrgenError as error:
        return f"Refused: {error}"


def _row(
    pair: Session, check: AlignmentCheck | str, config: CycleGanConfig, split: Split
) -> tuple[str, ...]:
    scans = (_name(pair), *(_file(pair.scans.get(contrast)) for contrast in CONTRASTS))
    part = {**dict.fromkeys(split.train, "training"), **dict.fromkeys(split.test, "testing")}
    used = part.get(pair.subject, _MISSING)
    if isinstance(check, str):
        return (*scans, _MISSING, _MISSING, used, check)
    similarity = _MISSING if check.similarity is None else f"{check.similarity:.3f}"
    return (*scans, check.relation, similarity, used, f"{_done(check, config)} {pair.note}".strip())


def _done(check: AlignmentCheck, config: CycleGanConfig) -> str:
    if check.relation == "unpaired":
        return f"{check.advice} It is trained on as unpaired."
    return _DONE.get(check.relation) or _NOT_ALIGNED[config.unaligned]


def _notes(checks: Sequence[AlignmentCheck | str], config: CycleGanConfig) -> Iterator[str]:
    """Say what the table comes to, first what a user would want to know before the press."""
    told = [check for check in checks if isinstance(check, AlignmentCheck)]
    aside = sum(check.relation == "not aligned" for check in told)
    yield f"{sum(check.is_aligned for check in told)} of {len(checks)} are pairs as they are."
    if aside:
        yield f"{aside} do not lie on one another. {_AHEAD[config.unaligned]}"
    if lost := sum(isinstance(check, str) and check.startswith("Refused") for check in checks):
        yield f"{lost} cannot be read, so no training starts: mend or remove them."
    if told:
        yield (
            "Similarity is the normalised mutual information in the brain: 1 is none, and below "
            f"{LEAST_SIMILARITY} two scans do not lie on one another."
        )
    if not config.paired_weight:
        yield "The paired weight is 0: pairs serve the scores alone, nothing is learned from them."


_AHEAD = {
    "refuse": "No training starts: set unaligned to register or unpaired, or leave them out.",
    "register": "They are registered once you start the training, which takes a minute or so each.",
    "unpaired": "They are trained on as scans of different heads.",
}


def _name(pair: Session) -> str:
    return pair.name or pair.subject


def _file(reference: Reference | None) -> str:
    return _MISSING if reference is None else reference.path.name
