"""How well held-out series are reconstructed, with what gridding alone gives beside the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from torch import Tensor, nn

from napari_mrgen.data.cine import load
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
from napari_mrgen.engine.task import Draws
from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.tasks import figures, reconstruct
from napari_mrgen.families.reconstruction.training import scan_spec
from napari_mrgen.metrics.scoreboard import Score

SLICES = 3
"""Of each subject, evenly spread."""
MODEL = "model"
TRIVIAL = {"view sharing 9": BASE, "view sharing 5": 1, "time average": -1, "zero-filled": 0}
"""Methods that gridding alone gives: channels of an input."""

Networks = Mapping[str, nn.Module]
Method = Callable[[Case], Tensor]


def score(networks: Networks, trained: ReconstructionConfig, inputs: Inputs) -> Iterator[Score]:
    """Yield the figures of each held-out subject: the model's, then the trivial methods'."""
    network = networks["reconstructor"]
    device = next(network.parameters()).device
    shared = trained.inputs == "shared"

    def model(case: Case) -> Tensor:
        inputs = case.inputs if shared else case.inputs[:1]
        is_magnitude = not (shared or case.physics)
        batch = {"inputs": inputs.abs() if is_magnitude else inputs, **case.physics}
        on_device = {name: value[None].to(device) for name, value in batch.items()}
        return reconstruct(network.eval(), on_device)[0, 0].float().cpu() * case.scale

    for subject, slices in held_out(trained, inputs):
        yield from score_subject(subject, slices, {MODEL: model})


def score_subject(
    subject: str, slices: Sequence[tuple[Case, Tensor]], methods: Mapping[str, Method]
) -> Iterator[Score]:
    """Average over slices ``(case, truth)``; cases have all channels."""

    def gridding(channel: int) -> Method:
        return lambda case: case.inputs[channel] * case.scale

    everything = {**methods, **{name: gridding(c) for name, c in TRIVIAL.items()}}
    for name, method in everything.items():
        found = [figures(method(case).clamp(min=0), truth) for case, truth in slices]
        yield Score(name, subject, {key: fmean(f[key] for f in found) for key in found[0]})


def held_out(
    trained: ReconstructionConfig, inputs: Inputs
) -> Iterator[tuple[str, list[tuple[Case, Tensor]]]]:
    """Yield slices of each held-out subject, scanned anew, with their truth ``(t, y, x)``."""
    spec = replace(scan_spec(trained), shared=True)
    if inputs.references.get("cine"):
        for reference in inputs.test("cine"):
            cine = load(reference.read())
            frames = cine.frames[: cine.cycle or None]
            yield reference.subject, scanned(reference.subject, frames, spec, trained.seed)
        return
    for pair in pair_series(inputs.test("undersampled"), inputs.test("truth")):
        series, truth = read_pair(*pair)
        chosen = spread(series.shape[1])
        cases = [(case_of_magnitude(series[:, z], shared=True), truth[:, z]) for z in chosen]
        yield pair[0].subject, cases


def scanned(subject: str, frames: Tensor, spec: ScanSpec, seed: int) -> list[tuple[Case, Tensor]]:
    """Scan some slices of ``(t, z, y, x)``; noise and coils follow from the subject's name."""
    draws = Draws((seed, "score", subject))
    cuts = [(z, frames[:, z].contiguous()) for z in spread(frames.shape[1])]
    return [(simulate(cut, spec, draws(z)), cut) for z, cut in cuts]


def spread(count: int, most: int = SLICES) -> list[int]:
    """Return the places of a few slices, the outermost left out where there are enough."""
    chosen = min(most, count)
    return [(2 * i + 1) * count // (2 * chosen) for i in range(chosen)]
