"""Scores of held-out series, for the model and for gridding alone as the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import torch
from torch import Tensor

from napari_mrgen.data.cine import Cine, load
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.realtime import VIEW_SHARED
from napari_mrgen.data.undersampled import (
    NetworkInputs,
    ScanSpec,
    inputs_of_magnitude,
    pair_series,
    read_pair,
    simulated_inputs,
)
from napari_mrgen.engine.task import Draws, Networks
from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.tasks import reconstruct_slice, series_metrics
from napari_mrgen.families.reconstruction.training import scan_spec
from napari_mrgen.metrics.scoreboard import Score

SLICES = 3
"""Slices of each subject that are scored, evenly spread."""
EDGE = 4
"""Frames at both ends of a series that are not scored, where an average of 9 is incomplete."""
MODEL = "model"
GRIDDING_BASELINES = {
    "view sharing 9": VIEW_SHARED, "view sharing 5": 1, "time average": -1, "zero-filled": 0
}  # fmt: skip
"""Baselines of simulated scans, and the input channel that each is."""
MAGNITUDE_BASELINES = {
    "average of 9 frames": VIEW_SHARED, "average of 5 frames": 1, "time average": -1, "input": 0
}  # fmt: skip
"""The same for magnitude series, whose artefacts do not cancel as those of samples do."""

Method = Callable[[NetworkInputs], Tensor]
"""Maps the inputs of a slice to its series ``(t, y, x)``."""
Slices = list[tuple[NetworkInputs, Tensor]]
"""Slices of a subject, with all input channels, and the truth ``(t, y, x)`` of each."""


def score_reconstructions(
    networks: Networks, trained: ReconstructionConfig, inputs: Inputs
) -> Iterator[Score]:
    """Yield the metrics of each held-out subject: those of the model, then of the baselines."""
    network = networks["reconstructor"]

    def model(slice_inputs: NetworkInputs) -> Tensor:
        channels = trained_channels(slice_inputs, trained)
        return reconstruct_slice(network, replace(slice_inputs, channels=channels))

    baselines = GRIDDING_BASELINES if inputs.references.get("cine") else MAGNITUDE_BASELINES
    for subject, slices in held_out_slices(trained, inputs):
        yield from score_subject(subject, slices, {MODEL: model}, baselines)


def trained_channels(inputs: NetworkInputs, trained: ReconstructionConfig) -> Tensor:
    """Return those of all channels that a network was trained on."""
    if trained.inputs == "view-shared":
        return inputs.channels
    return inputs.channels[:1] if inputs.operator else inputs.magnitude


def score_subject(
    subject: str,
    slices: Sequence[tuple[NetworkInputs, Tensor]],
    methods: Mapping[str, Method],
    baselines: Mapping[str, int] = GRIDDING_BASELINES,
) -> Iterator[Score]:
    """Average the metrics of each method and baseline over slices with all channels."""

    def baseline(channel: int) -> Method:
        return lambda inputs: inputs.channels[channel] * inputs.scale

    for name, method in {**methods, **{n: baseline(c) for n, c in baselines.items()}}.items():
        metrics = [
            series_metrics(scored_frames(method(inputs).clamp(min=0)), scored_frames(truth))
            for inputs, truth in slices
        ]
        yield Score(name, subject, {key: fmean(m[key] for m in metrics) for key in metrics[0]})


def held_out_slices(trained: ReconstructionConfig, inputs: Inputs) -> Iterator[tuple[str, Slices]]:
    """Yield each held-out subject and its slices, from newly simulated scans or from pairs."""
    spec = replace(scan_spec(trained), view_sharing=True)
    if inputs.references.get("cine"):
        for reference in inputs.test("cine"):
            frames = scanned_frames(load(reference.read()))
            yield reference.subject, scanned_slices(reference.subject, frames, spec, trained.seed)
        return
    for pair in pair_series(inputs.test("undersampled"), inputs.test("truth")):
        series, truth = read_pair(*pair)
        yield (
            pair[0].subject,
            [
                (inputs_of_magnitude(series[:, z], view_sharing=True), truth[:, z])
                for z in spread_slices(series.shape[1])
            ],
        )


def scanned_frames(cine: Cine) -> Tensor:
    """Return the frames ``(t, z, y, x)`` to scan: one cycle, with `EDGE` frames on both sides."""
    if not cine.cycle:
        return cine.frames
    return cine.frames[torch.arange(-EDGE, cine.cycle + EDGE) % cine.cycle]


def scored_frames(series: Tensor) -> Tensor:
    """Return the frames of ``(t, y, x)`` that are scored."""
    return series[EDGE:-EDGE] if len(series) > 2 * EDGE else series


def scanned_slices(subject: str, frames: Tensor, spec: ScanSpec, seed: int) -> Slices:
    """Scan some slices of ``(t, z, y, x)``; noise and coils follow from the subject's name."""
    draws = Draws((seed, "score", subject))
    slices = [(z, frames[:, z].contiguous()) for z in spread_slices(frames.shape[1])]
    return [(simulated_inputs(one, spec, draws(z)), one) for z, one in slices]


def spread_slices(count: int, most: int = SLICES) -> list[int]:
    """Return the indices of evenly spread slices, without the outermost where there are enough.

    Examples
    --------
    >>> spread_slices(9)
    [1, 4, 7]
    """
    chosen = min(most, count)
    return [(2 * i + 1) * count // (2 * chosen) for i in range(chosen)]
