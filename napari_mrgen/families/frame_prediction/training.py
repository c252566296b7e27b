"""The training stages of frame prediction, their plan and their data preview."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from napari_mrgen.data.checks import find_oddities
from napari_mrgen.data.cine import CineWindows, WindowSpec, as_array
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.device import Precision
from napari_mrgen.engine.family import DataPreview, Plan
from napari_mrgen.engine.memory.measure import plan_training
from napari_mrgen.engine.task import Batch, Draws, Stage, Task
from napari_mrgen.families.frame_prediction.config import FramePredictionConfig
from napari_mrgen.families.frame_prediction.networks import (
    predictor_discriminator,
    predictor_networks,
)
from napari_mrgen.families.frame_prediction.tasks import (
    PENALTY_EVERY,
    AutoencoderTask,
    GanTask,
    PreviewSource,
    frame_times,
)
from napari_mrgen.volume import Volume, upright_affine

_SHOWN = 8
_FEW = 8
"""With fewer frames a series does not cover a cardiac cycle."""


def predictor_stages(config: FramePredictionConfig, inputs: Inputs) -> Iterator[Stage]:
    """Yield the autoencoder, then the GAN, which starts from its weights."""
    networks = predictor_networks(config, ())
    source = PreviewSource(training_windows(config, inputs), inputs.test("cine")[0])
    titles = {"autoencoder": "Feedback autoencoder", "gan": "GAN"}
    steps = {"autoencoder": config.autoencoder_steps, "gan": config.gan_steps}
    for stage in config.stages:
        task = _task(config, stage, networks, source)
        yield Stage(stage, titles[stage], steps[stage], source.windows, task)


def _task(
    config: FramePredictionConfig, stage: str, networks: dict[str, nn.Module], source: PreviewSource
) -> Task:
    if stage == "autoencoder":
        return AutoencoderTask(config, networks["generator"], source)
    return GanTask(config, networks, predictor_discriminator(config), source)


def training_windows(config: FramePredictionConfig, inputs: Inputs) -> CineWindows:
    """Return the windows that a configuration cuts from the scans."""
    spec = WindowSpec(
        context=config.context,
        future=config.passes * config.frames_per_pass,
        slices=config.slices,
        patch=config.patch,
        retimed_share=config.retimed_share,
        cycle_dropout=config.cycle_dropout,
        delayed_share=config.delayed_share,
        noise=config.noise,
        augment=config.network != "published",
    )
    return CineWindows(inputs.train("cine"), inputs.test("cine"), spec)


def plan_predictor(
    config: FramePredictionConfig, inputs: Inputs, precision: Precision = "32-true"
) -> Plan:
    """Plan from a step of each stage, measured without values; the larger memory counts."""
    source = PreviewSource(training_windows(config, inputs), inputs.test("cine")[0])
    frames = config.context + config.passes * config.frames_per_pass
    shape = (frames, config.slices, config.patch, config.patch)
    # A step at full resolution with the longest roll-out, and of the GAN one with its penalty.
    steps = {
        "autoencoder": (config.autoencoder_steps - 1) | 1,
        "gan": (config.gan_steps - 1) // PENALTY_EVERY * PENALTY_EVERY,
    }

    def build(stage: str) -> tuple[Task, Batch]:
        task = _task(config, stage, predictor_networks(config, ()), source)
        size = config.batch_size
        batch = {"frames": torch.zeros(size, *shape)}
        return task, {**batch, "lead": torch.zeros(size), "cycle": torch.zeros(size)}

    trials = [(partial(build, stage), steps[stage]) for stage in config.stages]
    note = f"Any image size works; training cuts {config.patch} x {config.patch} windows."
    return plan_training(trials, shape, inputs, precision, [note])


def preview_windows(config: FramePredictionConfig, inputs: Inputs) -> DataPreview:
    """Show some training windows as the network gets them."""
    dataset = training_windows(config, inputs)
    draws = Draws((config.seed, "look"))
    count = min(_SHOWN, len(dataset))
    samples = [dataset.sample(index, draws(index))["frames"] for index in range(count)]
    stack = as_array(torch.stack(samples))  # (n, t, z, y, x)
    first = inputs.train("cine")[0].read()
    montage = Volume(
        stack,
        "ntzyx",
        upright_affine(first.spacing),
        name="training windows",
        times=frame_times(first, stack.shape[1]),
    )
    return DataPreview.of(montage, inputs, _oddities(config, inputs))


def _oddities(config: FramePredictionConfig, inputs: Inputs) -> tuple[str, ...]:
    """Compare each series with the rest, and name those that are short."""
    references = (*inputs.train("cine"), *inputs.test("cine"))
    frames = {reference: reference.info().shape[0] for reference in references}
    short = [f"{r.path.name}: only {n} frames." for r, n in frames.items() if n < _FEW]
    needed = f"which takes a whole cardiac cycle or more than {config.context} frames"
    untested = [
        f"{reference.path.name}: too short to test on, {needed}."
        for reference in inputs.test("cine")
        if frames[reference] <= config.context
    ]
    return (*find_oddities(references), *short, *untested)
