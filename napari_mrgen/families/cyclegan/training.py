"""The training of the translators: its data, its stage, and what it will need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from napari_mrgen.data.checks import find_oddities
from napari_mrgen.data.heads.brain import brain_mask, union_box
from napari_mrgen.data.heads.patches import VolumePatches
from napari_mrgen.data.heads.preprocessing import (
    PreprocessedData,
    PreprocessingSpec,
    preprocess_inputs,
)
from napari_mrgen.data.heads.sessions import (
    LEAST_SIMILARITY,
    AlignmentCheck,
    Relation,
    Session,
    check_alignment,
    sessions_of,
)
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.device import Precision
from napari_mrgen.engine.family import DataPreview, Plan, Survey
from napari_mrgen.engine.memory.measure import plan_training
from napari_mrgen.engine.task import Batch, Draws, Stage, Task
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.cyclegan.config import CONTRASTS, LEAST_PATCH, CycleGanConfig
from napari_mrgen.families.cyclegan.networks import build_discriminators, build_translators
from napari_mrgen.families.cyclegan.tasks import CycleTask, TrainingSamples
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Volume, upright_affine

ZOOM = 1.0
"""Largest enlargement of parts of heads, less one, at the usual strength of augmentation."""
_MEASURED_HEADS = 8
"""Heads of each contrast that are read to tell how large whole volumes are once cropped."""
_PREVIEWED_HEADS, _PREVIEWED_SAMPLES = 4, 8
"""Heads that are preprocessed for a preview of the data, and samples of them that are shown."""
_LEAST_POOL, _LEAST_WIDTH, _PATCH = 5, 4, 96
"""Image pool and filters below which nothing is saved, and patches in place of whole volumes."""


# ---- the stage ----------------------------------------------------------------------------------


def translation_stages(config: CycleGanConfig, inputs: Inputs) -> Iterator[Stage | Progress]:
    """Yield how far the preprocessing is, then the one stage."""
    for item in preprocess_inputs(inputs, CONTRASTS, preprocessing_spec(config)):
        if isinstance(item, Progress):
            yield item
            continue
        data = volume_patches(config, item)
        task = cycle_task(config, TrainingSamples.of(data))
        yield Stage("translation", "Translation", config.steps, data, task)


def preprocessing_spec(config: CycleGanConfig) -> PreprocessingSpec:
    return PreprocessingSpec(
        unaligned=config.unaligned,
        bias_correction=config.bias_correction,
        margin_mm=config.margin_mm,
    )


def volume_patches(config: CycleGanConfig, data: PreprocessedData) -> VolumePatches:
    zoom = 1 + ZOOM * config.augmentation
    flip = config.augmentation > 0
    return VolumePatches(data, CONTRASTS, config.patch, config.legal, flip=flip, zoom=zoom)


def cycle_task(config: CycleGanConfig, samples: TrainingSamples) -> CycleTask:
    built = {**build_translators(config), **build_discriminators(config)}
    return CycleTask(config, built, samples)


def preview_translation_data(
    config: CycleGanConfig, inputs: Inputs
) -> Iterator[DataPreview | Progress]:
    """Show training samples of some heads as the networks see them: T1w left, T2w right."""
    # To preprocess thousands of heads would take hours.
    t1s, t2s = (sorted({scan.subject for scan in inputs.train(role)}) for role in CONTRASTS)
    both, half = [name for name in t1s if name in t2s], _PREVIEWED_HEADS // 2
    some = tuple(both[:_PREVIEWED_HEADS] or t1s[:half] + t2s[:half])
    few = replace(inputs, split=Split(some, ()))
    for item in preprocess_inputs(few, CONTRASTS, preprocessing_spec(config)):
        if isinstance(item, Progress):
            yield item
            continue
        data = volume_patches(config, item)
        draws = Draws((config.seed, "look"))
        samples = [data.sample(n % len(data), draws(n)) for n in range(_PREVIEWED_SAMPLES)]
        middle = data.shape[0] // 2
        images = [torch.cat([s[role][0, middle] for role in CONTRASTS], -1) for s in samples]
        montage = Volume(
            array=torch.stack(images)[:, None].numpy(),
            axes="nzyx",
            affine=upright_affine(data.describe()["spacing_mm"]),
            name="T1w and T2w",
        )
        references = [(*inputs.train(role), *inputs.test(role)) for role in CONTRASTS]
        oddities = (text for scans in references for text in find_oddities(scans))
        yield DataPreview.of(montage, inputs, (*data.notes, *oddities))


# ---- what it will need --------------------------------------------------------------------------


def plan_translation(
    config: CycleGanConfig, inputs: Inputs, precision: Precision = "32-true"
) -> Plan:
    """Measure a full step without computing it; whole volumes are read to see how large they are.

    Nothing is registered or corrected for it.
    """
    sessions = sessions_of(inputs, CONTRASTS)
    pairs = sum(session.is_paired for session in sessions)
    samples = TrainingSamples(_shape(config, inputs), has_pairs=pairs > 0)

    def build() -> tuple[Task, Batch]:
        size = (config.batch_size, 1, *samples.shape)
        volumes = {name: torch.zeros(size) for name in (*CONTRASTS, "mask")}
        return cycle_task(config, samples), {**volumes, "paired": torch.ones(config.batch_size)}

    notes = [
        f"{pairs} pairs of T1w and T2w by their names, {len(sessions) - pairs} single scans.",
        f"Every side is a multiple of {config.legal}; other volumes are padded.",
    ]
    if samples.has_pairs and config.full_every > 1:
        notes.append(f"Work and memory are those of a full step, one in {config.full_every}.")
    if pairs and config.unaligned == "register":
        notes.append("Pairs that do not lie on one another are registered before training.")
    return plan_training([(build, 0)], (1, *samples.shape), inputs, precision, notes)


def _shape(config: CycleGanConfig, inputs: Inputs) -> tuple[int, int, int]:
    """Return ``(z, y, x)`` of a training sample, as `VolumePatches` will."""
    t1s = inputs.train("t1")
    heads = {scan.subject for scan in t1s}
    singles = [scan for scan in inputs.train("t2") if scan.subject not in heads]
    if config.patch:
        sides = [scan.info().shape[-3:] for scan in (*t1s, *singles)]
    else:
        some = (*t1s[:_MEASURED_HEADS], *singles[:_MEASURED_HEADS])
        sides = [_cropped(scan, config.margin_mm) for scan in some]
    largest = [min(max(side), config.patch or max(side)) for side in zip(*sides, strict=True)]
    z, y, x = (side + -side % config.legal for side in largest)
    return z, y, x


@lru_cache(maxsize=64)
def _cropped(scan: Reference, margin_mm: float) -> tuple[int, int, int]:
    """Return the shape of a scan cut to its brain; one plan after another asks for it."""
    volume = scan.read()
    z, y, x = (round(margin_mm / length) for length in volume.spacing)
    return union_box([brain_mask(volume)], (z, y, x)).shape


def memory_savings(config: CycleGanConfig) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """Return what would need less memory, the mildest first: what it is called, and its settings.

    From ``width`` on they are other networks, which cannot go on from what was learned.
    """
    savings: list[tuple[str, Mapping[str, Any]]] = []
    if not config.checkpointing:
        savings.append(("activation checkpointing (a third slower)", {"checkpointing": True}))
    if config.pool > _LEAST_POOL and not config.patch:
        savings.append((f"an image pool of {_LEAST_POOL}", {"pool": _LEAST_POOL}))
    if config.batch_size > 1:
        half = config.batch_size // 2
        savings.append((f"a batch of {half}", {"batch_size": half}))
    smaller = config.patch // 2 if config.patch else _PATCH
    smaller -= smaller % config.legal
    if smaller >= LEAST_PATCH:
        savings.append((f"patches of {smaller} voxels", {"patch": smaller}))
    if config.width >= 2 * _LEAST_WIDTH:
        savings.append((f"{config.width // 2} filters", {"width": config.width // 2}))
    if config.levels > 1:
        savings.append(("a level less", {"levels": config.levels - 1}))
    return savings


# ---- the survey ---------------------------------------------------------------------------------

COLUMNS = ("Subject", "T1w", "T2w", "How they lie", "Similarity", "Used for", "What will be done")
"""``Similarity`` is the normalised mutual information in the brain, of `check_alignment`."""

_ALIGNED: Mapping[Relation, str] = {
    "same grid": "Used as a pair.",
    "aligned in scanner coordinates": "Used as a pair; the T2w is resampled on the T1w's voxels.",
}
_NOT_ALIGNED = {
    "refuse": "Refused: no training starts with it.",
    "register": "The T2w is registered to the T1w (rigidly) before training.",
    "unpaired": "Both are used, but not as a pair.",
}
_WILL_BE_DONE = {
    "refuse": "No training starts: set unaligned to register or unpaired, or leave them out.",
    "register": "They are registered once you start the training, which takes a minute or so each.",
    "unpaired": "They are trained on as scans of different heads.",
}
_MISSING = "–"


def survey_pairs(config: CycleGanConfig, inputs: Inputs) -> Iterator[Survey | Progress]:
    """Compare the scans of every session that is trained or tested on; yield a table of all."""
    sessions, split = sessions_of(inputs, CONTRASTS), inputs.split
    checks: list[AlignmentCheck | str] = []
    for number, session in enumerate(sessions):
        yield Progress(f"Comparing the scans of {session.name}", number, len(sessions))
        if session.subject not in split.train + split.test:
            checks.append("Left out: the split does not name it.")
            continue
        try:
            checks.append(check_alignment(session))
        except MrgenError as error:  # One bad file is a row of the table, not its end.
            checks.append(f"Refused: {error}")
    pairs = zip(sessions, checks, strict=True)
    rows = tuple(_row(session, check, config, split) for session, check in pairs)
    yield Survey("Pairs of T1w and T2w", COLUMNS, rows, tuple(_survey_notes(checks, config)))


def _row(
    session: Session, check: AlignmentCheck | str, config: CycleGanConfig, split: Split
) -> tuple[str, ...]:
    scans = (session.scans.get(contrast) for contrast in CONTRASTS)
    files = (scan.path.name if scan else _MISSING for scan in scans)
    part = {**dict.fromkeys(split.train, "training"), **dict.fromkeys(split.test, "testing")}
    use = part.get(session.subject, _MISSING)
    if isinstance(check, str):
        return (session.name, *files, _MISSING, _MISSING, use, check)
    similarity = _MISSING if check.similarity is None else f"{check.similarity:.3f}"
    if check.relation == "unpaired":
        action = f"{check.advice} It is trained on as unpaired."
    else:
        action = _ALIGNED.get(check.relation) or _NOT_ALIGNED[config.unaligned]
    action = f"{action} {session.note}".strip()
    return (session.name, *files, check.relation, similarity, use, action)


def _survey_notes(checks: Sequence[AlignmentCheck | str], config: CycleGanConfig) -> Iterator[str]:
    """Sum the table up, first what a user would want to know before starting the training."""
    readable = [check for check in checks if isinstance(check, AlignmentCheck)]
    yield f"{sum(check.is_aligned for check in readable)} of {len(checks)} are pairs as they are."
    if unaligned := sum(check.relation == "not aligned" for check in readable):
        yield f"{unaligned} do not lie on one another. {_WILL_BE_DONE[config.unaligned]}"
    if refused := sum(isinstance(check, str) and check.startswith("Refused") for check in checks):
        yield f"{refused} cannot be read, so no training starts: mend or remove them."
    if readable:
        yield (
            "Similarity is the normalised mutual information in the brain: 1 is none, and below "
            f"{LEAST_SIMILARITY} two scans do not lie on one another."
        )
    if not config.paired_weight:
        yield "The paired weight is 0: pairs serve the scores alone, nothing is learned from them."
