"""How a reconstruction network learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from napari_mrgen.data.cine import as_array
from napari_mrgen.data.realtime import BASE
from napari_mrgen.data.undersampled import Case, PairedSeries, SimulatedScans
from napari_mrgen.engine.device import choose_precision, device_of
from napari_mrgen.engine.distributed import in_precision
from napari_mrgen.engine.task import Batch, Draws, Networks, Task
from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.losses import total_loss
from napari_mrgen.families.reconstruction.networks import Unrolled
from napari_mrgen.families.reconstruction.regularizers import penalty
from napari_mrgen.metrics.images import mse, psnr, ssim
from napari_mrgen.nn.schedules import one_cycle
from napari_mrgen.volume import Volume

Data = SimulatedScans | PairedSeries

OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}


class ReconstructionTask(Task):
    """One network, one optimizer, the truth beside them."""

    def __init__(
        self, config: ReconstructionConfig, networks: dict[str, nn.Module], data: Data
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
        self.update("reconstructor", loss + penalty(config, network.parameters()))
        return {"loss": loss.detach()}

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        scale = batch["scale"].view(-1, 1, 1, 1, 1)
        network = networks["reconstructor"].eval()
        predicted = reconstruct(network, batch).clamp(min=0) * scale
        truth = batch["truth"] * scale
        found = figures(predicted, truth)
        if batch["inputs"].shape[1] > BASE:
            shared = batch["inputs"][:, BASE : BASE + 1] * scale
            found["gain over sharing"] = found["PSNR"] - figures(shared, truth)["PSNR"]
        return found

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Show a held-out series: what was given, the reconstruction, the truth."""
        del draws
        sample = self.data.held_out_series(0)
        batch = {name: value[None].to(self.device) for name, value in sample.items()}
        predicted = reconstruct(networks["reconstructor"].eval(), batch)
        sides = [batch["inputs"][:, :1], predicted, batch["truth"]]
        frames = as_array(torch.cat(sides, -1)[0, 0, :, None])
        place = self.data.held_out_place(0)
        times = place.times and place.times[: len(frames)]  # One beat, of perhaps more.
        name = "zero-filled, reconstruction, truth"
        return (place.with_array(frames, "tzyx", name=name, times=times),)


def reconstruct(
    network: nn.Module, batch: Batch, generator: torch.Generator | None = None
) -> Tensor:
    """Return the network's series ``(b, 1, t, y, x)``; what it drops is drawn, if at all."""
    if isinstance(network, Unrolled):
        made: Tensor = network(batch["inputs"], batch["maps"], batch["kernel"])
    else:
        made = network(batch["inputs"], generator)
    return made


def run_case(network: nn.Module, case: Case) -> Tensor:
    """Reconstruct one slice: ``(t, y, x)``, never negative, in the scale of what was scanned."""
    device = device_of(network)
    batch = {"inputs": case.inputs, **case.physics}
    on_device = {name: value[None].to(device) for name, value in batch.items()}
    function = in_precision(reconstruct, choose_precision("auto", device))
    with torch.no_grad():
        made: Tensor = function(network.eval(), on_device)
    return made[0, 0].cpu().clamp(min=0) * case.scale


def figures(predicted: Tensor, truth: Tensor) -> dict[str, float]:
    """Return PSNR (of whole series), SSIM (mean of the frames) and NRMSE of ``(..., t, y, x)``."""
    error = mse(predicted, truth, dims=3) / truth.square().mean((-3, -2, -1))
    return {
        "PSNR": float(psnr(predicted, truth, dims=3).mean()),
        "SSIM": float(ssim(predicted, truth).mean()),
        "NRMSE": float(error.sqrt().mean()),
    }
