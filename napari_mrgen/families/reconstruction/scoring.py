"""How well held-out series are reconstructed, with what gridding alone gives beside the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import torch
from torch import Tensor

from napari_mrgen.data.cine import Cine, load
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.realtime import BASE
from napari_mrgen.data.undersampled import (
    Case,
    ScanSpec,
    case_of_magnitude,
    pair_series,
    read_pair,
    simulate,
)
from napari_mrgen.engine.task import Draws, Networks
from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.tasks import figures, run_case
from napari_mrgen.families.reconstruction.training import scan_spec
from napari_mrgen.metrics.scoreboard import Score

SLICES = 3
"""Of each subject, evenly spread."""
EDGE = 4
"""Frames at both ends of a series that are not scored: there an average of 9 lacks some."""
MODEL = "model"
TRIVIAL = {"view sharing 9": BASE, "view sharing 5": 1, "time average": -1, "zero-filled": 0}
"""Methods that gridding alone gives: channels of an input."""
OF_IMAGES = {"average of 9 frames": BASE, "average of 5 frames": 1, "time average": -1, "given": 0}
"""The same of series of magnitude, whose artefacts do not cancel as those of samples do."""

Method = Callable[[Case], Tensor]


def score(networks: Networks, trained: ReconstructionConfig, inputs: Inputs) -> Iterator[Score]:
    """Yield the figures of each held-out subject: the model's, then the trivial methods'."""
    network = networks["reconstructor"]

    def model(case: Case) -> Tensor:
        return run_case(network, replace(case, inputs=inputs_of(case, trained)))

    trivial = TRIVIAL if inputs.references.get("cine") else OF_IMAGES
    for subject, slices in held_out(trained, inputs):
        yield from score_subject(subject, slices, {MODEL: model}, trivial)


def inputs_of(case: Case, trained: ReconstructionConfig) -> Tensor:
    """Return what a network is given of a case that has all channels."""
    if trained.inputs == "shared":
        return case.inputs
    return case.inputs[:1] if case.physics else case.magnitude


def score_subject(
    subject: str,
    slices: Sequence[tuple[Case, Tensor]],
    methods: Mapping[str, Method],
    trivial: Mapping[str, int] = TRIVIAL,
) -> Iterator[Score]:
    """Average over slices ``(case, truth)``; cases have all channels."""

    def gridding(channel: int) -> Method:
        return lambda case: case.inputs[channel] * case.scale

    everything = {**methods, **{name: gridding(c) for name, c in trivial.items()}}
    for name, method in everything.items():
        found = [figures(inner(method(case).clamp(min=0)), inner(truth)) for case, truth in slices]
        yield Score(name, subject, {key: fmean(f[key] for f in found) for key in found[0]})


def held_out(
    trained: ReconstructionConfig, inputs: Inputs
) -> Iterator[tuple[str, list[tuple[Case, Tensor]]]]:
    """Yield slices of each held-out subject, scanned anew, with their truth ``(t, y, x)``."""
    spec = replace(scan_spec(trained), shared=True)
    if inputs.references.get("cine"):
        for reference in inputs.test("cine"):
            frames = played(load(reference.read()))
            yield reference.subject, scanned(reference.subject, frames, spec, trained.seed)
        return
    for pair in pair_series(inputs.test("undersampled"), inputs.test("truth")):
        series, truth = read_pair(*pair)
        chosen = spread(series.shape[1])
        cases = [(case_of_magnitude(series[:, z], shared=True), truth[:, z]) for z in chosen]
        yield pair[0].subject, cases


def played(cine: Cine) -> Tensor:
    """Return the frames ``(t, z, y, x)`` to scan: a beat, and `EDGE` more on both sides."""
    if not cine.cycle:
        return cine.frames
    return cine.frames[torch.arange(-EDGE, cine.cycle + EDGE) % cine.cycle]


def inner(series: Tensor) -> Tensor:
    """Return the frames of ``(t, y, x)`` that are scored."""
    return series[EDGE:-EDGE] if len(series) > 2 * EDGE else series


def scanned(subject: str, frames: Tensor, spec: ScanSpec, seed: int) -> list[tuple[Case, Tensor]]:
    """Scan some slices of ``(t, z, y, x)``; noise and coils follow from the subject's name."""
    draws = Draws((seed, "score", subject))
    cuts = [(z, frames[:, z].contiguous()) for z in spread(frames.shape[1])]
    return [(simulate(cut, spec, draws(z)), cut) for z, cut in cuts]


def spread(count: int, most: int = SLICES) -> list[int]:
    """Return the places of a few slices, the outermost left out where there are enough."""
    chosen = min(most, count)
    return [(2 * i + 1) * count // (2 * chosen) for i in range(chosen)]
