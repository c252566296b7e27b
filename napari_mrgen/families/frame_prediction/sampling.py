"""Prediction of the next frames of a cine, propagation of its labels, and export of networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.data.cine import load
from napari_mrgen.data.scaling import Scaling, as_type
from napari_mrgen.engine.device import device_of
from napari_mrgen.engine.exportable import Exportable, Port
from napari_mrgen.engine.task import Networks
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.frame_prediction.config import (
    FramePredictionConfig,
    FramePredictionGenerateConfig,
)
from napari_mrgen.families.frame_prediction.networks import (
    FlowPredictor,
    last_frames,
    roll_out,
    warp,
)
from napari_mrgen.mri.noise import rician
from napari_mrgen.volume import Array, Volume

MIRRORS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""Axes that are flipped for each view of the average (test-time augmentation)."""
_EXPORT_SIZES = ((2, 8, 48, 32), (1, 4, 16, 64), (3, 12, 32, 48))
_EXPORT_FRAMES = (5, 3, 1)
"""Sizes ``b, z, y, x``, and frames of the texture, at which exported networks are checked."""


def predict_cine(
    networks: Networks,
    trained: FramePredictionConfig,
    config: FramePredictionGenerateConfig,
    inputs: Mapping[str, Volume],
    generator: torch.Generator,
    data: Mapping[str, Any],
) -> Iterator[Volume]:
    """Yield the predicted cine; or samples one by one, on axis ``n``, and then their deviation."""
    del data  # The cine holds all that is needed.
    volume = inputs["cine"]
    chosen = _choose(networks, trained, config.stage)
    start = volume.size("t") - 1 if config.start_frame is None else config.start_frame
    cycle = load(volume).cycle if config.cycle is None else config.cycle
    frames = context_frames(volume, start, trained.context, cycle)
    is_sampled = config.noise or config.samples > 1
    before = frames if config.include_context else frames[:0]
    facts: dict[str, Any] = {
        "name": f"{volume.name or 'cine'} predicted",
        "times": _times(volume, start, len(before), config.frames),
    }
    spread = _Spread()
    for index in range(config.samples):
        context = _add_noise(frames, trained.noise, generator) if is_sampled else frames
        noise = generator if is_sampled else None
        predicted = predict(chosen, context, cycle, config.frames, noise)
        values = np.concatenate([before.astype(np.float32), predicted])
        array = as_type(values, volume.array.dtype)
        if config.samples == 1:
            yield volume.with_array(array, **facts)
            return
        spread.add(values)
        yield volume.with_array(array[None], "ntzyx", **facts, samples={"index": [index]})
    yield volume.with_array(spread.deviation, **{**facts, "name": f"{facts['name']}, spread"})


class _Spread:
    """Running standard deviation of arrays (Welford, Technometrics, 1962)."""

    def __init__(self) -> None:
        self._count = 0
        self._mean: Array = np.zeros(1, np.float32)
        self._squares: Array = np.zeros(1, np.float32)

    def add(self, array: Array) -> None:
        self._count += 1
        before = array - self._mean
        self._mean = self._mean + before / self._count
        self._squares = self._squares + before * (array - self._mean)

    @property
    def deviation(self) -> Array:
        return np.sqrt(self._squares / self._count)


def _choose(networks: Networks, trained: FramePredictionConfig, stage: str) -> Networks:
    """Return the networks of a stage; in the flow network the GAN stage trains the texture only."""
    if stage == "gan" and not has_gan(networks, trained):
        msg = "This model has no GAN stage; choose stage 'best' or 'autoencoder', or train it."
        raise MrgenError(msg)
    if stage != "autoencoder":
        return networks
    if "autoencoder" not in trained.stages:
        msg = "This model has no autoencoder stage; choose stage 'best' or 'gan', or train it."
        raise MrgenError(msg)
    if has_gan(networks, trained) and "texture" not in networks:
        msg = (
            "The GAN stage trained the autoencoder of this model further; use the run's "
            "model-autoencoder.safetensors with stage 'best'."
        )
        raise MrgenError(msg)
    return {"generator": networks["generator"]}


def context_frames(volume: Volume, start: int, context: int, cycle: int) -> np.ndarray[Any, Any]:
    """Return the frames up to ``start``; in a whole cycle the last ones precede the first."""
    count = volume.size("t")
    if start >= count:
        msg = f"Cannot start after frame {start}: this cine has frames 0 to {count - 1}."
        raise MrgenError(msg)
    first = start - context + 1
    if first < 0 and not 0 < cycle <= count:
        msg = (
            f"The model needs {context} frames to start from, and frame {start} has only "
            f"{start} before it; start after frame {context - 1} or later."
        )
        raise MrgenError(msg)
    return volume.array[[i if i >= 0 else i % cycle for i in range(first, start + 1)]]


def _add_noise(
    frames: np.ndarray[Any, Any], noise: float, generator: torch.Generator
) -> np.ndarray[Any, Any]:
    scaling = Scaling.fit(frames)
    scaled = torch.from_numpy(scaling.apply(frames))
    return scaling.invert(rician(scaled, noise, generator).numpy())


def _times(volume: Volume, start: int, before: int, count: int) -> tuple[float, ...] | None:
    if volume.times is None or volume.frame_interval is None:
        return None
    interval = volume.frame_interval
    return tuple(volume.times[start] + interval * (i + 1) for i in range(-before, count))


# ---- roll-out and propagation --------------------------------------------------------------------


def predict(
    networks: Networks,
    frames: np.ndarray[Any, Any],
    cycle: int,
    count: int,
    generator: torch.Generator | None = None,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Continue frames ``(t, z, y, x)`` in any units by ``count`` frames, in the same units.

    The scaling, too, is that of ``frames`` alone.
    """
    scaling = Scaling.fit(frames)
    device = device_of(networks["generator"])
    context = torch.from_numpy(scaling.apply(frames))[None].to(device)
    with torch.no_grad():
        predicted = forecast(networks, context, cycle, count, generator)
    return scaling.invert(predicted[0].float().cpu().numpy())


def forecast(
    networks: Networks,
    context: Tensor,
    cycle: int,
    count: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Predict ``count`` frames after ``context`` ``(b, t, z, y, x)``, scaled to about 0..1.

    If the cardiac cycle is known, the prediction continues up to the context of the next cycle and
    then repeats, so that the motion neither fades nor drifts at any length. The prediction is the
    mean over mirrored views where the network was trained with them.
    """
    network, texture = networks["generator"], networks.get("texture")
    is_periodic = getattr(network, "knows_cycle", False) and cycle > context.shape[1]
    length = min(count, cycle - context.shape[1]) if is_periodic else count
    padded = pad(context, network.multiple)  # type: ignore[arg-type]
    mirrors = MIRRORS if getattr(network, "knows_mirrors", False) else MIRRORS[:1]
    views = [_roll(network, padded.flip(m), cycle, length, generator).flip(m) for m in mirrors]
    predicted = torch.stack(views).mean(0)
    if texture is not None:
        predicted = texture(predicted, padded[:, -1:], generator)
    z, y, x = context.shape[2:]
    predicted = predicted[..., :z, :y, :x]
    if not is_periodic:
        return predicted
    period = torch.cat([predicted, context], 1)
    return period[:, torch.arange(count, device=period.device) % cycle]


def _roll(
    network: nn.Module, context: Tensor, cycle: int, count: int, generator: torch.Generator | None
) -> Tensor:
    lead = context.new_zeros(len(context))
    passes = roll_out(network, context, lead, lead + cycle, generator)
    frames: list[Tensor] = []
    while sum(part.shape[1] for part in frames) < count:
        frames.append(next(passes))
    return torch.cat(frames, 1)[:, :count]


def propagate_labels(
    network: FlowPredictor, context: Tensor, labels: Tensor, cycle: int, count: int
) -> Tensor:
    """Propagate the labels ``(z, y, x)`` of the last frame by the predicted displacement.

    Returns ``(t, z, y, x)`` for the ``count`` frames after ``context`` ``(1, t, z, y, x)``.
    """
    padded, lead = pad(context, network.multiple), context.new_zeros(1)
    values = torch.tensor(sorted(set(labels.flatten().tolist())), device=labels.device)
    masks = torch.stack([(labels == value).float() for value in values])[None]
    masks = pad(masks, network.multiple)[0].transpose(0, 1)  # (z, label, y, x)
    propagated: list[Tensor] = []
    recent = last_frames(padded, network.input_frames)
    for done in range(0, count, network.count):
        timing = (lead + done, lead + cycle)
        for flow in network.displacement(padded, recent, *timing).unbind(1):
            shares = warp(masks, flow[:, None].expand(-1, len(values), -1, -1, -1))
            propagated.append(values[shares.argmax(1)])
        frames = torch.cat([recent, network(padded, recent, *timing)], 1)
        recent = last_frames(frames, network.input_frames)
    z, y, x = labels.shape
    return torch.stack(propagated[:count])[:, :z, :y, :x]


def pad(frames: Tensor, multiple: Sequence[int]) -> Tensor:
    """Pad ``z``, ``y`` and ``x`` by replication to multiples of ``multiple``."""
    z, y, x = ((-size) % step for size, step in zip(frames.shape[2:], multiple, strict=True))
    if not (z or y or x):
        return frames
    flat = functional.pad(frames.flatten(0, 1)[:, None], (0, x, 0, y, 0, z), mode="replicate")
    return flat[:, 0].reshape(*frames.shape[:2], *flat.shape[2:])


def has_gan(networks: Networks, trained: FramePredictionConfig) -> bool:
    """Whether the GAN stage was trained; of the published network only the settings say so."""
    is_whole = trained.network == "published" and "gan" in trained.stages
    return "texture" in networks or is_whole


# ---- export --------------------------------------------------------------------------------------


def predictor_exports(
    networks: Mapping[str, nn.Module], trained: FramePredictionConfig
) -> Iterator[Exportable]:
    """Yield the predictor and its texture network."""
    generator = networks["generator"]
    z, y, x = cast("tuple[int, int, int]", generator.multiple)
    yield Exportable(
        name="generator",
        module=generator,
        inputs=(
            Port("context", ("b", trained.context, "z", "y", "x")),
            Port("recent", ("b", cast("int", generator.input_frames), "z", "y", "x")),
            Port("lead", ("b",), high=20.0),
            Port("cycle", ("b",), low=20.0, high=40.0),
        ),
        output="frames",
        sizes=tuple(dict(zip("bzyx", sizes, strict=True)) for sizes in _EXPORT_SIZES),
        help=(
            f"The next frames; sides z, y, x must be multiples of {z}, {y}, {x}. lead: frames "
            "since the context; cycle: frames in a cardiac cycle, 0 where unknown."
        ),
    )
    if "texture" in networks:
        yield Exportable(
            name="texture",
            module=networks["texture"],
            inputs=(
                Port("prediction", ("b", "t", "z", "y", "x")),
                Port("last", ("b", 1, "z", "y", "x")),
            ),
            output="frames",
            sizes=tuple(
                {"t": count, **dict(zip("bzyx", sizes, strict=True))}
                for count, sizes in zip(_EXPORT_FRAMES, _EXPORT_SIZES, strict=True)
            ),
            help="From predicted frames and the last real one to frames with fine texture.",
        )
