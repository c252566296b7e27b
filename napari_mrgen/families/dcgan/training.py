"""The training stage of slice generation, its plan and its data preview."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from napari_mrgen.data.checks import find_oddities, show_slices
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.slices import CONDITIONS, SliceData, SliceSpec
from napari_mrgen.engine.device import Precision
from napari_mrgen.engine.family import DataPreview, Plan
from napari_mrgen.engine.memory.measure import plan_training
from napari_mrgen.engine.task import Batch, Draws, Stage, Task
from napari_mrgen.families.dcgan.config import DcganConfig
from napari_mrgen.families.dcgan.networks import SliceEncoder, discriminator, generator_networks
from napari_mrgen.families.dcgan.tasks import GanTask

ROLE = "slices"
_SHIFT = 4
_FEW = 200
"""Training slices below which a generator memorises them."""


def slice_gan_stages(config: DcganConfig, inputs: Inputs) -> Iterator[Stage]:
    """Yield the one stage: generator, discriminator and encoder."""
    data = slice_data(config, inputs)
    yield Stage("gan", "GAN", config.steps, data, _task(config, data))


def slice_data(config: DcganConfig, inputs: Inputs) -> SliceData:
    return SliceData(inputs.train(ROLE), inputs.test(ROLE), slice_spec(config))


def slice_spec(config: DcganConfig) -> SliceSpec:
    shift = round(_SHIFT * config.augmentation)
    return SliceSpec.of(config, flip=config.augmentation > 0, shift=shift)


def plan_slice_gan(config: DcganConfig, inputs: Inputs, precision: Precision = "32-true") -> Plan:
    """Plan from a step at full resolution with its gradient penalty, measured without values."""
    data = slice_data(config, inputs)
    full = config.with_values({"coarse_share": 0.0, "reconstruction_share": 0.0})

    def build() -> tuple[Task, Batch]:
        images = torch.zeros(config.batch_size, 1, config.size, config.size)
        conditions = torch.zeros(config.batch_size, CONDITIONS)
        return _task(full, data), {"image": images, "conditions": conditions}

    notes = _notes(config, inputs, data)
    return plan_training([(build, 0)], (1, config.size, config.size), inputs, precision, notes)


def preview_gan_data(config: DcganConfig, inputs: Inputs) -> DataPreview:
    """Show training slices at full resolution."""
    data = slice_data(config, inputs)
    montage = show_slices(data, Draws((config.seed, "look")))
    references = (*inputs.train(ROLE), *inputs.test(ROLE))
    return DataPreview.of(montage, inputs, find_oddities(references))


def _task(config: DcganConfig, data: SliceData) -> GanTask:
    built = generator_networks(config)
    built["discriminator"] = discriminator(config)
    if config.has_encoder:
        built["encoder"] = SliceEncoder(config)
    return GanTask(config, built, data)


def _notes(config: DcganConfig, inputs: Inputs, data: SliceData) -> tuple[str, ...]:
    notes = [f"{len(data)} training slices from {len(inputs.train(ROLE))} volumes."]
    if len(data) < _FEW:
        notes.append(f"Fewer than {_FEW} training slices: expect near-copies of them.")
    if config.coarse_share:
        notes.append("Work and memory are those of a step at full resolution.")
    return tuple(notes)
