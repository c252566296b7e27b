"""Scores of predicted cines by horizon, beside baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from napari_mrgen.data.cine import Cine, load
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.device import device_of
from napari_mrgen.engine.task import Networks
from napari_mrgen.families.frame_prediction.config import FramePredictionConfig
from napari_mrgen.families.frame_prediction.networks import FlowPredictor
from napari_mrgen.families.frame_prediction.sampling import has_gan, predict, propagate_labels
from napari_mrgen.metrics.images import mse, psnr, ssim
from napari_mrgen.metrics.scoreboard import Score
from napari_mrgen.volume import Volume

NEAR = (1, 2, 3, 5, 10)
FIRST = range(1, 6)
FAR = range(41, 61)
LEFT_VENTRICLE = 3
"""Value of the left ventricle in label maps, as in ACDC."""
SSIM_EVERY = 5
"""SSIM is computed at every fifth far horizon, since it takes longer than the prediction."""
Method = Callable[[Tensor, int, int], Tensor]
"""A function of context ``(t, z, y, x)``, cycle and count that returns that many frames."""


def score_predictions(
    networks: Networks, trained: FramePredictionConfig, inputs: Inputs
) -> Iterator[Score]:
    """Yield the metrics of each held-out series: the stages of the model, then the baselines."""
    methods = _methods(networks, trained)
    for reference in inputs.test("cine"):
        volume = reference.read()
        cine = load(volume)
        scores = list(score_cine(reference.subject, cine, methods, trained.context))
        if not scores:
            continue
        network = networks["generator"]
        labels = reference.read_labels() if isinstance(network, FlowPredictor) else None
        if labels is not None and isinstance(network, FlowPredictor):
            errors = ventricle_errors(network, cine, labels, trained.context)
            scores[0] = replace(scores[0], values={**scores[0].values, **errors})
        yield from scores


def ventricle_errors(
    network: FlowPredictor, cine: Cine, labels: Volume, context: int
) -> dict[str, float]:
    """Propagate the label of the left ventricle over one cycle, from the context frames on.

    Returns the mean error of its volume in ml and the error of its ejection fraction in percentage
    points; nothing if not all frames are labelled, or the context covers the whole cycle.
    """
    if cine.cycle <= context or len(labels.labelled_frames) < cine.cycle:
        return {}
    maps = torch.from_numpy(labels.array.astype(np.int64))
    frames = cine.frames[:context][None].to(device_of(network))
    count = cine.cycle - context
    with torch.no_grad():
        propagated = propagate_labels(
            network, frames, maps[context - 1].to(frames.device), cine.cycle, count
        )
    ml = float(np.prod(labels.spacing)) / 1000
    true = (maps[: cine.cycle] == LEFT_VENTRICLE).sum((1, 2, 3)) * ml
    predicted = torch.cat(
        [true[:context], (propagated.cpu() == LEFT_VENTRICLE).sum((1, 2, 3)) * ml]
    )
    if not true.any():
        return {}
    error = (predicted - true)[context:].abs().mean()
    return {
        "LV volume error": float(error),
        "EF error": abs(_ejection(predicted) - _ejection(true)),
    }


def _ejection(volumes: Tensor) -> float:
    return 100 * float(1 - volumes.min() / volumes.max())


def score_cine(
    subject: str,
    cine: Cine,
    methods: Mapping[str, Method],
    context: int,
    windows: int = 3,
    farthest: int = FAR[-1],
) -> Iterator[Score]:
    """Average the metrics over windows that start at evenly spread frames, up to a horizon.

    A periodic series is continued periodically; a method gets ``context`` frames and the cycle, and
    frames of the cycle that are in the context do not count. A series without a cycle and without a
    frame after the context is left out.
    """
    if not cine.cycle and len(cine.frames) <= context:
        return
    tallies = {name: Tally() for name in [*methods, "temporal mean"]}
    starts = cine.cycle or max(1, len(cine.frames) - context)
    count = min(windows, starts)
    for index in range(count):
        window = _Window(cine, round(index * starts / count), context, farthest)
        for name, method in methods.items():
            tallies[name].add(window, method(window.context, cine.cycle, window.count))
        mean = cine.frames.mean(0, keepdim=True).expand(window.count, -1, -1, -1)
        tallies["temporal mean"].add(window, mean)
    for name, tally in tallies.items():
        yield Score(name, subject, tally.means())


@dataclass
class Tally:
    """Metrics by name, to be averaged over windows."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, window: _Window, predicted: Tensor) -> None:
        for horizon in NEAR:
            if window.is_scored(horizon):
                self._add(str(horizon), window, predicted, horizon)
        if all(map(window.is_scored, FIRST)):
            gains = [window.gain(predicted, horizon) for horizon in FIRST]
            self.values.setdefault("gain 1-5", []).append(sum(gains) / len(gains))
        for horizon in filter(window.is_scored, FAR):
            self._add("41-60", window, predicted, horizon)

    def _add(self, label: str, window: _Window, predicted: Tensor, horizon: int) -> None:
        truth, frame = window.truth(horizon), predicted[horizon - 1]
        ratio = mse(frame, truth, dims=3) / mse(window.context[-1], truth, dims=3)
        metrics = {"PSNR": psnr(frame, truth, dims=3), "skill": 1 - ratio}
        if horizon not in FAR or horizon % SSIM_EVERY == 0:
            metrics["SSIM"] = ssim(frame, truth).mean()
        if horizon in FAR:
            metrics["drift"] = frame.mean() / truth.mean() - 1
        for name, value in metrics.items():
            self.values.setdefault(f"{name} {label}", []).append(float(value))

    def means(self) -> dict[str, float]:
        return {name: sum(values) / len(values) for name, values in self.values.items()}


class _Window:
    """Context frames of a series, and the truth at each horizon that there is."""

    def __init__(self, cine: Cine, start: int, context: int, farthest: int) -> None:
        self._cine, self._start, self._length = cine, start, context
        count = len(cine.frames)
        self.context = torch.stack([self._frame(start + i) for i in range(context)])
        self.count = farthest if cine.cycle else min(farthest, count - start - context)

    def _frame(self, index: int) -> Tensor:
        return self._cine.frames[index % self._cine.cycle if self._cine.cycle else index]

    def truth(self, horizon: int) -> Tensor:
        return self._frame(self._start + self._length + horizon - 1)

    def gain(self, predicted: Tensor, horizon: int) -> float:
        """Return the PSNR gain over persistence at a horizon, in dB."""
        truth = self.truth(horizon)
        errors = [
            psnr(frame, truth, dims=3) for frame in (predicted[horizon - 1], self.context[-1])
        ]
        return float(errors[0] - errors[1])

    def is_scored(self, horizon: int) -> bool:
        """Whether there is a frame at a horizon that is not among the context."""
        index = self._length + horizon - 1
        if self._cine.cycle:
            index %= self._cine.cycle
        return horizon <= self.count and index >= self._length


def _methods(networks: Networks, trained: FramePredictionConfig) -> dict[str, Method]:
    def model(networks: Networks) -> Method:
        return lambda context, cycle, count: torch.from_numpy(
            predict(networks, context.numpy(), cycle, count)
        )

    title = "GAN" if has_gan(networks, trained) else "autoencoder"
    methods = {title: model(networks)}
    if "texture" in networks and "autoencoder" in trained.stages:
        methods["autoencoder"] = model({"generator": networks["generator"]})
    return {**methods, **BASELINES}


def _extrapolation(context: Tensor, cycle: int, count: int) -> Tensor:
    steps = torch.arange(1, count + 1).view(-1, 1, 1, 1)
    return context[-1] + steps * (context[-1] - context[-2])


BASELINES: dict[str, Method] = {
    "persistence": lambda context, cycle, count: context[-1:].expand(count, -1, -1, -1),
    "context mean": lambda context, cycle, count: context.mean(0).expand(count, -1, -1, -1),
    "linear extrapolation": _extrapolation,
}
