"""The training of the translators, what it will need, and what makes it need less."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_mrgen.data.checks import find_oddities
from napari_mrgen.data.heads.brain import brain_mask, union_box
from napari_mrgen.data.heads.patches import VolumePatches
from napari_mrgen.data.heads.preprocessing import (
    PreprocessedData,
    PreprocessingSpec,
    preprocess_inputs,
)
from napari_mrgen.data.heads.sessions import sessions_of
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.device import Precision
from napari_mrgen.engine.family import DataPreview, Plan, Survey
from napari_mrgen.engine.memory.measure import plan_training
from napari_mrgen.engine.task import Batch, Draws, Stage, Task
from napari_mrgen.families.cyclegan.config import CONTRASTS, LEAST_PATCH, CycleGanConfig
from napari_mrgen.families.cyclegan.networks import discriminators, networks
from napari_mrgen.families.cyclegan.surveying import survey_pairs
from napari_mrgen.families.cyclegan.tasks import CycleTask, TrainingSamples
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Volume

ZOOM = 1.0
"""How much parts of heads are enlarged at most, at the usual strength of variation: to twice."""
_MEASURED = 8
"""Heads of each contrast that are read to tell how large whole volumes are once cropped."""
_LOOKED_AT, _SHOWN = 4, 8
"""Heads that are made ready for a look at the data, and samples of them that are shown."""
_FEW, _NARROW, _PATCH = 5, 4, 96
"""Pool and filters that are not worth less, and patches in place of whole volumes."""


def stages(config: CycleGanConfig, inputs: Inputs) -> Iterator[Stage | Progress]:
    """Say how the data is made ready, then yield the one stage."""
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


def volume_patches(config: CycleGanConfig, prepared: PreprocessedData) -> VolumePatches:
    varied = config.augmentation
    return VolumePatches(
        prepared, CONTRASTS, config.patch, config.legal, flip=varied > 0, zoom=1 + ZOOM * varied
    )


def plan(config: CycleGanConfig, inputs: Inputs, precision: Precision = "32-true") -> Plan:
    """Measure a full step without computing it; whole volumes are read to see how large they are.

    Nothing is registered or corrected for it.
    """
    samples = TrainingSamples(
        _shape(config, inputs), has_pairs=any(p.is_paired for p in sessions_of(inputs, CONTRASTS))
    )

    def build() -> tuple[Task, Batch]:
        size = (config.batch_size, 1, *samples.shape)
        volumes = {name: torch.zeros(size) for name in (*CONTRASTS, "mask")}
        return cycle_task(config, samples), {**volumes, "paired": torch.ones(config.batch_size)}

    notes = _notes(config, inputs, samples)
    return plan_training([(build, 0)], (1, *samples.shape), inputs, precision, notes)


def savings(config: CycleGanConfig) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """Return what would need less memory, the mildest first: what it is called, and its settings.

    From ``width`` on they are other networks, which cannot go on from what was learned.
    """
    found: list[tuple[str, Mapping[str, Any]]] = []
    if not config.checkpointing:
        found.append(("activation checkpointing (a third slower)", {"checkpointing": True}))
    if config.pool > _FEW and not config.patch:
        found.append((f"an image pool of {_FEW}", {"pool": _FEW}))
    if config.batch_size > 1:
        half = config.batch_size // 2
        found.append((f"a batch of {half}", {"batch_size": half}))
    if smaller := _smaller_patch(config):
        found.append((f"patches of {smaller} voxels", {"patch": smaller}))
    if config.width >= 2 * _NARROW:
        found.append((f"{config.width // 2} filters", {"width": config.width // 2}))
    if config.levels > 1:
        found.append(("a level less", {"levels": config.levels - 1}))
    return found


def survey(config: CycleGanConfig, inputs: Inputs) -> Iterator[Survey | Progress]:
    """Compare the two scans of every pair."""
    yield from survey_pairs(config, sessions_of(inputs, CONTRASTS), inputs.split)


def preview_data(config: CycleGanConfig, inputs: Inputs) -> Iterator[DataPreview | Progress]:
    """Show training samples of some heads as the networks see them: T1w left, T2w right."""
    for item in preprocess_inputs(_few(inputs), CONTRASTS, preprocessing_spec(config)):
        yield item if isinstance(item, Progress) else _look(config, inputs, item)


def _look(config: CycleGanConfig, inputs: Inputs, prepared: PreprocessedData) -> DataPreview:
    data = volume_patches(config, prepared)
    draws = Draws((config.seed, "look"))
    samples = [data.sample(index % len(data), draws(index)) for index in range(_SHOWN)]
    middle = data.shape[0] // 2
    sides = [torch.cat([s[role][0, middle] for role in CONTRASTS], -1) for s in samples]
    references = [(*inputs.train(role), *inputs.test(role)) for role in CONTRASTS]
    return DataPreview.of(
        _montage(torch.stack(sides), data.describe()["spacing_mm"]),
        inputs,
        (*data.notes, *(said for found in references for said in find_oddities(found))),
    )


def _few(inputs: Inputs) -> Inputs:
    """Keep a few training subjects with both contrasts: to look at thousands would take hours."""
    t1s, t2s = (sorted({scan.subject for scan in inputs.train(role)}) for role in CONTRASTS)
    both = [name for name in t1s if name in t2s]
    half = _LOOKED_AT // 2
    return replace(inputs, split=Split(tuple(both[:_LOOKED_AT] or t1s[:half] + t2s[:half]), ()))


def _montage(images: Tensor, spacing: Sequence[float]) -> Volume:
    """Return pictures ``(n, y, x)`` with the voxel size in mm, upright."""
    z, y, x = spacing
    affine = np.diag([-x, -y, -z, 1.0])[:, [2, 1, 0, 3]]
    return Volume(images[:, None].numpy(), "nzyx", affine, name="T1w and T2w")


def cycle_task(config: CycleGanConfig, samples: TrainingSamples) -> CycleTask:
    return CycleTask(config, {**networks(config, samples.shape), **discriminators(config)}, samples)


def _shape(config: CycleGanConfig, inputs: Inputs) -> tuple[int, int, int]:
    """Return ``(z, y, x)`` of a training sample, as `VolumePatches` will."""
    t1s = inputs.train("t1")
    heads = {scan.subject for scan in t1s}
    singles = [scan for scan in inputs.train("t2") if scan.subject not in heads]
    if config.patch:
        sides = [scan.info().shape[-3:] for scan in (*t1s, *singles)]
    else:
        some = (*t1s[:_MEASURED], *singles[:_MEASURED])
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


def _smaller_patch(config: CycleGanConfig) -> int:
    """Return a patch of half the side, or one in place of whole volumes; 0 where none is legal."""
    wanted = config.patch // 2 if config.patch else _PATCH
    legal = wanted - wanted % config.legal
    return legal if legal >= LEAST_PATCH else 0


def _notes(config: CycleGanConfig, inputs: Inputs, samples: TrainingSamples) -> tuple[str, ...]:
    pairs = sessions_of(inputs, CONTRASTS)
    whole = sum(pair.is_paired for pair in pairs)
    notes = [
        f"{whole} pairs of T1w and T2w by their names, {len(pairs) - whole} single scans.",
        f"Every side is a multiple of {config.legal}; other volumes are padded.",
    ]
    if samples.has_pairs and config.full_every > 1:
        notes.append(f"Work and memory are those of a full step, one in {config.full_every}.")
    if whole and config.unaligned == "register":
        notes.append("Pairs that do not lie on one another are registered before training.")
    return tuple(notes)
