"""The training stage of reconstruction, its memory plan, and the preview of its data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch

from napari_mrgen.data.checks import find_oddities
from napari_mrgen.data.cine import as_array
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.realtime import Protocol
from napari_mrgen.data.undersampled import (
    PairedSeries,
    ScanSpec,
    SeriesData,
    SimulatedScans,
    pair_series,
)
from napari_mrgen.engine.device import Precision
from napari_mrgen.engine.family import DataPreview, Plan
from napari_mrgen.engine.memory.measure import plan_training
from napari_mrgen.engine.task import Batch, Draws, EarlyStopping, Stage, Task
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.networks import input_channels, reconstructor_networks
from napari_mrgen.families.reconstruction.tasks import ReconstructionTask
from napari_mrgen.volume import Volume, upright_affine

_SHOWN = 6
_ONE_OR_OTHER = "Expected cine series, or undersampled series and their truth"


def reconstruction_stages(config: ReconstructionConfig, inputs: Inputs) -> Iterator[Stage]:
    """Yield the one stage, which ends with the best model by ``monitor``."""
    data = training_data(config, inputs)
    task = ReconstructionTask(config, reconstructor_networks(config, ()), data)
    mode: Literal["min", "max"] = "min" if config.monitor == "NRMSE" else "max"
    early_stopping = EarlyStopping(config.monitor, config.patience, config.min_delta, mode=mode)
    yield Stage("reconstruction", "Reconstruction", config.steps, data, task, early_stopping)


def training_data(config: ReconstructionConfig, inputs: Inputs) -> SeriesData:
    """Return scans simulated from cines, or pairs of undersampled series and their truth."""
    spec = scan_spec(config)
    roles = [role for role, scans in inputs.references.items() if scans]
    if "cine" in roles:
        if roles != ["cine"]:
            raise MrgenError(f"{_ONE_OR_OTHER}, got {' and '.join(roles)}; give one or the other.")
        return SimulatedScans(inputs.train("cine"), inputs.test("cine"), spec)
    if set(roles) != {"undersampled", "truth"}:
        raise MrgenError(f"{_ONE_OR_OTHER}; give one or the other.")
    if config.network == "unrolled":
        msg = (
            "The unrolled network needs measured data, and images have none; choose another "
            "network, such as published, or give fully sampled cines."
        )
        raise MrgenError(msg)
    train = pair_series(inputs.train("undersampled"), inputs.train("truth"))
    test = pair_series(inputs.test("undersampled"), inputs.test("truth"))
    return PairedSeries(train, test, spec)


def scan_spec(config: ReconstructionConfig) -> ScanSpec:
    """Return how a training simulates scans, and what its network gets of them."""
    return ScanSpec(
        frames=config.frames,
        patch=config.patch,
        protocol=Protocol(config.spokes, config.angle),
        spokes_variation=config.spokes_variation,
        coils=config.coils,
        noise=config.noise,
        view_sharing=config.inputs == "view-shared",
        with_operator=config.network == "unrolled",
        retimed_share=config.retimed_share,
        augmentation=config.augmentation,
    )


def plan_reconstruction(
    config: ReconstructionConfig, inputs: Inputs, precision: Precision = "32-true"
) -> Plan:
    """Measure the memory of a step without computing it."""
    data = training_data(config, inputs)

    b, t, n = config.batch_size, config.frames, config.patch

    def build() -> tuple[Task, Batch]:
        batch = {
            "inputs": torch.zeros(b, input_channels(config), t, n, n),
            "truth": torch.zeros(b, 1, t, n, n),
            "scale": torch.ones(b),
        }
        if config.network == "unrolled":
            batch["maps"] = torch.zeros(b, config.coils, n, n, dtype=torch.complex64)
            batch["kernel"] = torch.zeros(b, t, 2 * n, 2 * n)
        return ReconstructionTask(config, reconstructor_networks(config, ()), data), batch

    note = "Images of any size and any number of frames work."
    return plan_training([(build, 0)], (t, 1, n, n), inputs, precision, [note])


def preview_series(config: ReconstructionConfig, inputs: Inputs) -> DataPreview:
    """Show training series: each input channel from left to right, then the truth."""
    data = training_data(config, inputs)
    draws = Draws((config.seed, "look"))
    samples = [data.sample(i, draws(i)) for i in range(min(_SHOWN, len(data)))]
    rows = [torch.cat([*s["inputs"], *s["truth"]], -1) for s in samples]
    references = [
        r for role in inputs.references for r in (*inputs.train(role), *inputs.test(role))
    ]
    montage = Volume(
        as_array(torch.stack(rows)[:, :, None]),
        "ntzyx",
        upright_affine(references[0].info().spacing),
        name="training series: input, truth",
    )
    return DataPreview.of(montage, inputs, find_oddities(references))
