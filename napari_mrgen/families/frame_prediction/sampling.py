"""Generation: the next frames of a cine, from its last or from any other frame on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from napari_mrgen.data.cine import find_cycle
from napari_mrgen.data.scaling import Scaling, as_type
from napari_mrgen.engine.task import Networks
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.frame_prediction.config import (
    FramePredictionConfig,
    FramePredictionGenerateConfig,
)
from napari_mrgen.families.frame_prediction.forecasting import has_gan, predict
from napari_mrgen.mri.noise import rician
from napari_mrgen.volume import Array, Volume


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
    cycle = _cycle(volume) if config.cycle is None else config.cycle
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
        predicted = predict(
            chosen, context, cycle, config.frames, generator if is_sampled else None
        )
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


def _cycle(volume: Volume) -> int:
    return find_cycle(torch.from_numpy(Scaling.fit(volume.array).apply(volume.array)))


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
