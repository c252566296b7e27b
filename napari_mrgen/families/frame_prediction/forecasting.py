"""Prediction of any number of frames from context frames, and propagation of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen.data.scaling import Scaling
from napari_mrgen.engine.device import device_of
from napari_mrgen.engine.task import Networks
from napari_mrgen.families.frame_prediction.config import FramePredictionConfig
from napari_mrgen.families.frame_prediction.networks import (
    FlowPredictor,
    last_frames,
    roll_out,
)
from napari_mrgen.families.frame_prediction.warp import warp

MIRRORS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""Axes that are flipped for each view of the average (test-time augmentation)."""


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
    recent = last_frames(padded, network.seen)
    for done in range(0, count, network.count):
        timing = (lead + done, lead + cycle)
        for flow in network.displacement(padded, recent, *timing).unbind(1):
            shares = warp(masks, flow[:, None].expand(-1, len(values), -1, -1, -1))
            propagated.append(values[shares.argmax(1)])
        recent = torch.cat([recent, network(padded, recent, *timing)], 1)[:, -network.seen :]
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
