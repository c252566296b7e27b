"""The training stages of the VQ-VAE, their plan and their data preview."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from napari_mrgen.data.checks import find_oddities, show_slices
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.slices import CONDITIONS, SliceData, SliceSpec
from napari_mrgen.engine.device import Precision
from napari_mrgen.engine.family import DataPreview, Plan
from napari_mrgen.engine.memory.measure import plan_training
from napari_mrgen.engine.task import Batch, Draws, Networks, Stage, Task
from napari_mrgen.families.vqvae.config import VqVaeConfig
from napari_mrgen.families.vqvae.networks import autoencoder, prior
from napari_mrgen.families.vqvae.prior_tasks import GanTask, PriorTask, TransformerTask
from napari_mrgen.families.vqvae.published import CodeDiscriminator
from napari_mrgen.families.vqvae.tasks import TextureTask, VqVaeTask
from napari_mrgen.nn.discriminators import PatchDiscriminator

SHIFT = 4
"""Largest random shift in the first stage, in pixels; the prior is trained without, so that it
learns the position of heads."""


def vqvae_stages(config: VqVaeConfig, inputs: Inputs) -> Iterator[Stage]:
    """Yield the VQ-VAE, then the refinement of its decoder, then the prior over its codes."""
    built = autoencoder(config)
    data = slice_data(config, inputs, SHIFT)
    first = VqVaeTask(config, built, data)
    yield Stage("vqvae", "VQ-VAE", config.vqvae_steps, data, first)
    if config.texture_steps:
        second = _texture_task(config, built, data)
        yield Stage("texture", "Texture", config.texture_steps, data, second)
    if config.prior_steps:
        data = slice_data(config, inputs, 0)
        title = "Masked transformer" if config.prior == "transformer" else "DCGAN of codes"
        yield Stage("prior", title, config.prior_steps, data, _prior_task(config, built, data))


def slice_data(config: VqVaeConfig, inputs: Inputs, shift: int = 0) -> SliceData:
    return SliceData(
        inputs.train("slices"), inputs.test("slices"), SliceSpec.of(config, shift=shift)
    )


def plan_vqvae(config: VqVaeConfig, inputs: Inputs, precision: Precision = "32-true") -> Plan:
    """Plan from a step of each stage, measured without values; the largest memory counts."""
    data = slice_data(config, inputs)
    steps = {"vqvae": config.vqvae_steps - 1, "texture": config.texture_steps - 1, "prior": 0}
    trials = [(partial(_trial, config, data, stage), steps[stage]) for stage in config.stages]
    side, bits = config.side, config.codes.bit_length() - 1
    note = (
        f"A slice of {config.size} x {config.size} pixels becomes {side} x {side} of "
        f"{config.codes} codes, about {side * side * bits // 8} bytes."
    )
    return plan_training(trials, (1, config.size, config.size), inputs, precision, [note])


def preview_vqvae_data(config: VqVaeConfig, inputs: Inputs) -> DataPreview:
    """Show some training slices as the networks get them."""
    montage = show_slices(slice_data(config, inputs, SHIFT), Draws((config.seed, "look")))
    oddities = find_oddities((*inputs.train("slices"), *inputs.test("slices")))
    return DataPreview.of(montage, inputs, oddities)


def _texture_task(config: VqVaeConfig, built: dict[str, nn.Module], data: SliceData) -> TextureTask:
    discriminator = PatchDiscriminator(1, max(8, config.width // 2))
    return TextureTask(config, built, discriminator, data)


def _prior_task(config: VqVaeConfig, built: Networks, data: SliceData) -> PriorTask:
    networks = {**built, **prior(config)}
    if config.prior == "transformer":
        return TransformerTask(config, networks, data)
    discriminator = CodeDiscriminator(config.side, config.code_size, config.prior_width // 2)
    return GanTask(config, networks, discriminator, data)


def _trial(config: VqVaeConfig, data: SliceData, stage: str) -> tuple[Task, Batch]:
    """Return the task of a stage with new networks, and a batch of the size that it will get."""
    built, n, size = autoencoder(config), config.batch_size, config.size
    batch = {"image": torch.zeros(n, 1, size, size), "conditions": torch.zeros(n, CONDITIONS)}
    if stage == "vqvae":
        return VqVaeTask(config, built, data), batch
    if stage == "texture":
        return _texture_task(config, built, data), batch
    return _prior_task(config, built, data), batch
