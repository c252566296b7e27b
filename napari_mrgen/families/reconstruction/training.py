"""The one stage of reconstruction, and what a training will need."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from napari_mrgen.data.checks import find_oddities
from napari_mrgen.data.cine import as_array
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.realtime import Protocol
from napari_mrgen.data.undersampled import PairedSeries, ScanSpec, SimulatedScans, pair_series
from napari_mrgen.engine.device import Precision
from napari_mrgen.engine.family import DataPreview, Plan
from napari_mrgen.engine.memory.measure import plan_training
from napari_mrgen.engine.task import Batch, Draws, EarlyStopping, Stage, Task
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.networks import input_channels, networks
from napari_mrgen.families.reconstruction.tasks import Data, ReconstructionTask
from napari_mrgen.volume import Volume

_SHOWN = 6
_ONE_OR_OTHER = "Expected cine series, or undersampled series and their truth"


def stages(config: ReconstructionConfig, inputs: Inputs) -> Iterator[Stage]:
    """Yield the one stage; its best model by ``monitor`` is the one that it ends with."""
    data = training_data(config, inputs)
    task = ReconstructionTask(config, networks(config, ()), data)
    patience = EarlyStopping(
        config.monitor,
        config.patience,
        config.min_delta,
        mode="min" if config.monitor == "NRMSE" else "max",
    )
    yield Stage("reconstruction", "Reconstruction", config.steps, data, task, patience)


def training_data(config: ReconstructionConfig, inputs: Inputs) -> Data:
    """Return scans simulated of cines, or the pairs that are given in their place."""
    spec = scan_spec(config)
    given = [role for role, scans in inputs.references.items() if scans]
    if "cine" in given:
        if given != ["cine"]:
            raise MrgenError(f"{_ONE_OR_OTHER}, got {' and '.join(given)}; give one or the other.")
        return SimulatedScans(inputs.train("cine"), inputs.test("cine"), spec)
    check_pairs(config, inputs)
    train = pair_series(inputs.train("undersampled"), inputs.train("truth"))
    test = pair_series(inputs.test("undersampled"), inputs.test("truth"))
    return PairedSeries(train, test, spec)


def check_pairs(config: ReconstructionConfig, inputs: Inputs) -> None:
    """Refuse pairs of which one half is missing, and a network that they cannot train."""
    if not (inputs.references.get("undersampled") and inputs.references.get("truth")):
        raise MrgenError(f"{_ONE_OR_OTHER}; give one or the other.")
    if config.network == "unrolled":
        msg = (
            "The unrolled network needs measured data, which images with artefacts do not hold; "
            "choose another network, such as unet3d, or give fully sampled cines."
        )
        raise MrgenError(msg)


def scan_spec(config: ReconstructionConfig) -> ScanSpec:
    return ScanSpec(
        frames=config.frames,
        patch=config.patch,
        protocol=Protocol(config.spokes, config.angle),
        spread=config.spokes_spread,
        coils=config.coils,
        noise=config.noise,
        shared=config.inputs == "shared",
        physics=config.network == "unrolled",
        retime=config.new_motion,
        varied=config.vary,
    )


def plan(config: ReconstructionConfig, inputs: Inputs, precision: Precision = "32-true") -> Plan:
    """Measure a step without computing it."""
    data = training_data(config, inputs)

    def build() -> tuple[Task, Batch]:
        return ReconstructionTask(config, networks(config, ()), data), empty_batch(config)

    shape = (config.frames, 1, config.patch, config.patch)
    note = "Any image size and any number of frames will do."
    return plan_training([(build, 0)], shape, inputs, precision, [note])


def empty_batch(config: ReconstructionConfig) -> Batch:
    """Return a batch of the size of a training step, without content."""
    b, t, n = config.batch_size, config.frames, config.patch
    batch = {
        "inputs": torch.zeros(b, input_channels(config), t, n, n),
        "truth": torch.zeros(b, 1, t, n, n),
        "scale": torch.ones(b),
    }
    if config.network == "unrolled":
        batch["maps"] = torch.zeros(b, config.coils, n, n, dtype=torch.complex64)
        batch["kernel"] = torch.zeros(b, t, 2 * n, 2 * n)
    return batch


def preview_data(config: ReconstructionConfig, inputs: Inputs) -> DataPreview:
    """Show training series: each channel of the input from left to right, then the truth."""
    data = training_data(config, inputs)
    draws = Draws((config.seed, "look"))
    samples = [data.sample(i, draws(i)) for i in range(min(_SHOWN, len(data)))]
    rows = [torch.cat([*s["inputs"], *s["truth"]], -1) for s in samples]
    references = [
        r for role in inputs.references for r in (*inputs.train(role), *inputs.test(role))
    ]
    z, y, x = references[0].info().spacing
    montage = Volume(
        as_array(torch.stack(rows)[:, :, None]),
        "ntzyx",
        np.diag([x, y, z, 1.0])[:, [2, 1, 0, 3]],
        name="training series: input, truth",
    )
    return DataPreview.of(montage, inputs, find_oddities(references))
