"""The two stages of frame prediction, and what a training will need."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from napari_mrgen.data.cine import CineWindows, WindowSpec, as_array
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.family import DataLook, Plan
from napari_mrgen.engine.task import Draws, Stage
from napari_mrgen.families.frame_prediction.config import FramePredictionConfig
from napari_mrgen.families.frame_prediction.networks import discriminator, networks
from napari_mrgen.families.frame_prediction.tasks import AutoencoderTask, GanTask, Scene
from napari_mrgen.volume import Volume

_SHOWN = 8


def stages(config: FramePredictionConfig, inputs: Inputs) -> Iterator[Stage]:
    """Yield the autoencoder, then the GAN, which starts from what the first has learned."""
    built = networks(config, ())
    scene = Scene(windows(config, inputs), inputs.test("cine")[0])
    if config.autoencoder_steps:
        task = AutoencoderTask(config, built["generator"], scene)
        yield Stage(
            "autoencoder", "Feedback autoencoder", config.autoencoder_steps, scene.windows, task
        )
    if config.gan_steps:
        yield Stage(
            "gan", "GAN", config.gan_steps, scene.windows,
            GanTask(config, built, discriminator(config), scene),
        )  # fmt: skip


def windows(config: FramePredictionConfig, inputs: Inputs) -> CineWindows:
    spec = WindowSpec(
        context=config.context,
        future=config.passes * config.frames_per_pass,
        slices=config.slices,
        patch=config.patch,
        retime=config.new_motion,
        forget_cycle=config.hide_cycle,
        jump=config.later_start,
        noise=config.noise,
        varied=config.network != "simple_ugen",
    )
    return CineWindows(inputs.train("cine"), inputs.test("cine"), spec)


def plan(config: FramePredictionConfig, inputs: Inputs) -> Plan:
    """Count parameters and operations on the meta device; estimate the memory of a step."""
    with torch.device("meta"):
        network = networks(config, ())["generator"]
        batch, n = config.batch_size, config.context
        shape = (n, config.slices, config.patch, config.patch)
        frames = torch.empty(batch, *shape)
        recent = torch.empty(batch, int(getattr(network, "seen", n)), *shape[1:])
        told = torch.empty(batch)
        layers: list[tuple[str, str, int]] = []
        _watch(network, layers)
        counter = FlopCounterMode(display=False)
        with counter:
            network(frames, recent, told, told)
    parameters = sum(p.numel() for p in network.parameters())
    kept = sum(int(np.prod(_sizes(row[1]))) for row in layers)
    # Weights, gradients and two moments in float32; activations are kept for each pass.
    memory = 16 * parameters + 4 * kept * config.passes
    return Plan(
        shape=(config.context + config.passes * config.frames_per_pass, *shape[1:]),
        parameters=parameters,
        flops_per_step=3 * counter.get_total_flops() * config.passes,
        memory_bytes=memory,
        layers=tuple(layers),
        notes=_notes(config, inputs),
    )


def look(config: FramePredictionConfig, inputs: Inputs) -> DataLook:
    """Show some training windows as the network sees them, one above the other."""
    dataset = windows(config, inputs)
    draws = Draws((config.seed, "look"))
    count = min(_SHOWN, len(dataset))
    samples = [dataset.sample(index, draws(index))["frames"] for index in range(count)]
    stack = as_array(torch.stack(samples))  # (n, t, z, y, x)
    first = inputs.train("cine")[0].read()
    z, y, x = first.spacing
    montage = Volume(
        stack, "ntzyx", np.diag([x, y, z, 1.0])[:, [2, 1, 0, 3]], name="training windows"
    )
    return DataLook(montage, inputs.split.train, inputs.split.test, _oddities(inputs))


def _oddities(inputs: Inputs) -> tuple[str, ...]:
    """Compare each series with the rest: spacing, frames, duplicates, intensity."""
    found: list[str] = []
    seen: dict[int, str] = {}
    references = (*inputs.train("cine"), *inputs.test("cine"))
    volumes = [(reference.subject, reference.read()) for reference in dict.fromkeys(references)]
    usual = np.median([volume.spacing for _, volume in volumes], axis=0)
    for subject, volume in volumes:
        if np.any(np.abs(np.array(volume.spacing) / usual - 1) > 0.5):
            size = " x ".join(f"{length:.2f}" for length in volume.spacing)
            found.append(f"{subject}: odd voxel size, {size} mm (z, y, x).")
        if volume.size("t") < 8:
            found.append(f"{subject}: only {volume.size('t')} frames.")
        if not np.isfinite(volume.array).all():
            found.append(f"{subject}: values that are not finite; they are read as 0.")
        if volume.array.max() == volume.array.min():
            found.append(f"{subject}: the same value everywhere.")
        key = hash(volume.array.tobytes())
        if key in seen:
            found.append(f"{subject}: the same images as {seen[key]}.")
        seen[key] = subject
    return tuple(found)


def _notes(config: FramePredictionConfig, inputs: Inputs) -> tuple[str, ...]:
    notes = [f"Any image size works; training cuts {config.patch} x {config.patch} windows."]
    if inputs.nothing_held_out:
        notes.append("There is one subject only: nothing is held out to test on.")
    return tuple(notes)


def _watch(network: nn.Module, rows: list[tuple[str, str, int]]) -> None:
    """Note each leaf layer's output shape and parameters when it is called."""

    def note(name: str, layer: nn.Module) -> None:
        def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            size = " x ".join(map(str, output.shape))
            rows.append((name, size, sum(p.numel() for p in module.parameters())))

        layer.register_forward_hook(hook)

    for name, layer in network.named_modules():
        if not list(layer.children()):
            note(name, layer)


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(" x ")]
