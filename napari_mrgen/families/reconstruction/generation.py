"""Reconstruct a series: a cine on trial, or one with artefacts; score it beside simple methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_mrgen.data.measured import case_of_samples, measured_of
from napari_mrgen.data.realtime import BASE
from napari_mrgen.data.scaling import Scaling, as_type
from napari_mrgen.data.undersampled import Case, ScanSpec, case_of_magnitude, simulate
from napari_mrgen.engine.device import device_of
from napari_mrgen.engine.task import Networks
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.reconstruction.config import (
    ReconstructionConfig,
    ReconstructionGenerateConfig,
)
from napari_mrgen.families.reconstruction.networks import Unrolled
from napari_mrgen.families.reconstruction.scoring import score
from napari_mrgen.families.reconstruction.tasks import run_case
from napari_mrgen.families.reconstruction.training import scan_spec
from napari_mrgen.io.raw_data.kspace import is_kspace, read_kspace
from napari_mrgen.volume import Volume

__all__ = ["generate", "score"]

INPUT = {"part": "input"}
"""Provenance of what a network was given."""
ON_TRIAL = {**INPUT, "source_is": "truth"}
"""The same, where it was simulated of what should come out."""


def generate(
    networks: Networks,
    trained: ReconstructionConfig,
    config: ReconstructionGenerateConfig,
    inputs: Mapping[str, Volume],
    generator: torch.Generator,
    data: Mapping[str, Any],
) -> Iterator[Volume]:
    """Yield the reconstructed series; with ``beside`` also what it was made from.

    All samples of one scan would be the same, so there is one.
    """
    del data  # The scale is that of each slice.
    network = networks["reconstructor"]
    role = choose_role(network, inputs)
    volume = inputs[role]
    if role == "kspace":
        yield from _from_samples(network, trained, config, volume)
        return
    scaling = Scaling.fit(volume.array)
    frames = torch.from_numpy(scaling.apply(volume.array))
    spec = trial(trained, config)
    if role == "cine":
        cases = (simulate(cut.contiguous(), spec, generator) for cut in frames.unbind(1))
    else:
        cases = (case_of_magnitude(cut, shared=spec.shared) for cut in frames.unbind(1))
    part = ON_TRIAL if role == "cine" else INPUT
    yield from _reconstruct(network, cases, config, volume, scaling, part)


def _from_samples(
    network: nn.Module,
    trained: ReconstructionConfig,
    config: ReconstructionGenerateConfig,
    image: Volume,
) -> Iterator[Volume]:
    """Reconstruct from the samples in the file that an image of k-space was read from."""
    path = Path(image.source.path if image.source else "")
    if not is_kspace(path):
        msg = f"{image.name or 'This image'} is of no file of k-space; name the file itself."
        raise MrgenError(msg)
    spec = scan_spec(trained)
    device = device_of(network)
    measured = (one.to(device) for one in measured_of(read_kspace(path)))
    cases = (case_of_samples(one, shared=spec.shared, physics=spec.physics) for one in measured)
    float_image = image.with_array(image.array.astype(np.float32), times=image.times)
    yield from _reconstruct(network, cases, config, float_image, Scaling(0.0, 1.0))


def _reconstruct(
    network: nn.Module,
    cases: Iterable[Case],
    config: ReconstructionGenerateConfig,
    volume: Volume,
    scaling: Scaling,
    part: Mapping[str, str] = INPUT,
) -> Iterator[Volume]:
    """Yield what is made of the slices of a volume, and if wanted what it was made from."""
    made, given = [], []
    for case in cases:
        made.append(run_case(network, case))
        given.append(case.inputs.cpu().clamp(min=0) * case.scale)
    name = volume.name or "series"
    yield _place(volume, scaling, made, f"{name} reconstructed")
    if config.beside:
        zero_filled = _place(volume, scaling, [one[0] for one in given], f"{name} zero-filled")
        yield replace(zero_filled, provenance=dict(part))
        if len(given[0]) > BASE:
            yield _place(volume, scaling, [one[BASE] for one in given], f"{name} view-shared")


def choose_role(network: nn.Module, inputs: Mapping[str, Volume]) -> str:
    """Return the one role that is given; refuse images where measured data is needed."""
    if len(inputs) != 1:
        got = " and ".join(inputs) or "none"
        raise MrgenError(f"Expected one series to reconstruct, got {got}; give one.")
    (role,) = inputs
    if role == "undersampled" and isinstance(network, Unrolled):
        msg = (
            "This model goes back to the measured data, which an image with artefacts does not "
            "hold; train one of the U-Nets for such images, or try this one on a cine."
        )
        raise MrgenError(msg)
    return role


def trial(trained: ReconstructionConfig, config: ReconstructionGenerateConfig) -> ScanSpec:
    """Return how a cine is scanned on trial: as in training, unless something else is asked for."""
    spec = scan_spec(trained)
    spokes = spec.protocol.spokes if config.spokes is None else config.spokes
    noise = spec.noise if config.noise is None else config.noise
    return replace(spec, protocol=replace(spec.protocol, spokes=spokes), noise=noise)


def _place(volume: Volume, scaling: Scaling, slices: list[Tensor], name: str) -> Volume:
    """Return slices ``(t, y, x)`` in the place, times and values of the source."""
    array = scaling.invert(np.stack([one.numpy() for one in slices], 1))
    return volume.with_array(as_type(array, volume.array.dtype), name=name, times=volume.times)
