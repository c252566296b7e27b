"""Losses and training task of a reconstruction network, and its application to a slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from napari_mrgen.data.cine import as_array
from napari_mrgen.data.realtime import VIEW_SHARED
from napari_mrgen.data.undersampled import NetworkInputs, SeriesData
from napari_mrgen.engine.device import choose_precision, device_of
from napari_mrgen.engine.distributed import in_precision
from napari_mrgen.engine.task import Batch, Draws, Networks, Task
from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.networks import Unrolled
from napari_mrgen.families.reconstruction.regularizers import weight_penalty
from napari_mrgen.metrics.images import mse, psnr, ssim
from napari_mrgen.nn.schedules import one_cycle
from napari_mrgen.volume import Volume

OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}
_PROBABILITY_MARGIN = 1e-4
"""Distance from 0 and 1 that intensities keep in the cross-entropy."""


def _ssim_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    return 1 - ssim(predicted, truth).mean()


def _psnr_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    return -psnr(predicted, truth, dims=3).mean()


def _cross_entropy(predicted: Tensor, truth: Tensor) -> Tensor:
    probability = predicted.clamp(_PROBABILITY_MARGIN, 1 - _PROBABILITY_MARGIN)
    return functional.binary_cross_entropy(probability, truth.clamp(0, 1))


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "ssim": _ssim_loss,
    "psnr": _psnr_loss,
    "bce": _cross_entropy,
}


def total_loss(config: ReconstructionConfig, predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the loss of series ``(b, 1, t, y, x)``, with the weighted second loss if there is one.

    Examples
    --------
    >>> config = ReconstructionConfig(loss="mse", second_loss="mae", second_weight=0.5)
    >>> float(total_loss(config, torch.full((1, 1, 2, 8, 8), 2.0), torch.zeros(1, 1, 2, 8, 8)))
    5.0
    """
    loss = LOSSES[config.loss](predicted, truth)
    if config.second_loss == "none":
        return loss
    return loss + config.second_weight * LOSSES[config.second_loss](predicted, truth)


class ReconstructionTask(Task):
    """Supervised training of one network with one optimizer."""

    def __init__(
        self, config: ReconstructionConfig, networks: dict[str, nn.Module], data: SeriesData
    ) -> None:
        network = networks["reconstructor"]
        options = {"weight_decay": config.weight_decay} if config.optimizer == "adamw" else {}
        optimizer = OPTIMIZERS[config.optimizer](
            network.parameters(), lr=config.learning_rate, **options
        )
        super().__init__(networks, {"reconstructor": optimizer}, ("reconstructor",))
        self.config, self.data = config, data

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        config, network = self.config, self.networks["reconstructor"]
        if config.schedule == "one_cycle":
            rate = config.learning_rate * one_cycle(step / config.steps)
            self.set_learning_rate("reconstructor", rate)
        predicted = reconstruct(network, batch, draws("drop", device=self.device))
        loss = total_loss(config, predicted, batch["truth"])
        self.update("reconstructor", loss + weight_penalty(config, network.parameters()))
        return {"loss": loss.detach()}

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        scale = batch["scale"].view(-1, 1, 1, 1, 1)
        network = networks["reconstructor"].eval()
        predicted = reconstruct(network, batch).clamp(min=0) * scale
        truth = batch["truth"] * scale
        metrics = series_metrics(predicted, truth)
        if batch["inputs"].shape[1] > VIEW_SHARED:
            shared = batch["inputs"][:, VIEW_SHARED : VIEW_SHARED + 1] * scale
            gain = metrics["PSNR"] - series_metrics(shared, truth)["PSNR"]
            metrics["gain over view sharing"] = gain
        return metrics

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Show a held-out series: zero-filled, reconstructed, and the truth."""
        del draws
        sample = self.data.held_out_series(0)
        batch = {name: value[None].to(self.device) for name, value in sample.items()}
        predicted = reconstruct(networks["reconstructor"].eval(), batch)
        sides = [batch["inputs"][:, :1], predicted, batch["truth"]]
        frames = as_array(torch.cat(sides, -1)[0, 0, :, None])
        source = self.data.held_out_volume(0)
        times = source.times and source.times[: len(frames)]  # One cycle, of perhaps more.
        name = "zero-filled, reconstruction, truth"
        return (source.with_array(frames, "tzyx", name=name, times=times),)


def reconstruct(
    network: nn.Module, batch: Batch, generator: torch.Generator | None = None
) -> Tensor:
    """Return the network's series ``(b, 1, t, y, x)``; the generator is that of dropout."""
    if isinstance(network, Unrolled):
        series: Tensor = network(batch["inputs"], batch["maps"], batch["kernel"])
    else:
        series = network(batch["inputs"], generator)
    return series


def reconstruct_slice(network: nn.Module, inputs: NetworkInputs) -> Tensor:
    """Reconstruct one slice: ``(t, y, x)``, never negative, in the scale of the scan."""
    device = device_of(network)
    batch = {"inputs": inputs.channels, **inputs.operator}
    on_device = {name: value[None].to(device) for name, value in batch.items()}
    function = in_precision(reconstruct, choose_precision("auto", device))
    with torch.no_grad():
        series: Tensor = function(network.eval(), on_device)
    return series[0, 0].cpu().clamp(min=0) * inputs.scale


def series_metrics(predicted: Tensor, truth: Tensor) -> dict[str, float]:
    """Return PSNR (of whole series), SSIM (mean of the frames) and NRMSE of ``(..., t, y, x)``.

    Examples
    --------
    >>> truth = torch.ones(9, 16, 16)
    >>> round(series_metrics(truth + 0.1, truth)["PSNR"], 2)
    20.0
    """
    error = mse(predicted, truth, dims=3) / truth.square().mean((-3, -2, -1))
    return {
        "PSNR": float(psnr(predicted, truth, dims=3).mean()),
        "SSIM": float(ssim(predicted, truth).mean()),
        "NRMSE": float(error.sqrt().mean()),
    }
