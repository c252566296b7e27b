"""How the two stages learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from napari_mrgen.data.cine import CineWindows, as_array, load
from napari_mrgen.engine.task import Batch, Draws, Networks, Task
from napari_mrgen.families.frame_prediction.config import FramePredictionConfig
from napari_mrgen.families.frame_prediction.forecasting import forecast, predict
from napari_mrgen.families.frame_prediction.networks import roll_out
from napari_mrgen.io.find import Reference
from napari_mrgen.io.movies import write_movie
from napari_mrgen.metrics.images import psnr, ssim
from napari_mrgen.nn.discriminators import bce_loss, gradient_penalty, hinge_loss
from napari_mrgen.nn.losses import charbonnier, log_mse, spectral_loss
from napari_mrgen.nn.schedules import one_cycle
from napari_mrgen.volume import Volume

MOVIES = (5, 50)
"""Predicted frames in the movies that a stage leaves."""
BAND = (0.1, 0.5)
"""Spatial frequencies, in cycles a pixel, whose power the GAN stage matches."""
PENALTY_EVERY = 16
PENALTY = 1.0
WARM_UP = 0.15
"""Share of the GAN stage in which only the discriminator learns."""
CERTAINTY = 0.9
"""How real VolumetricVideo's discriminator is to find a real clip."""


@dataclass(frozen=True)
class Scene:
    """What a task trains on, and the held-out series that its movies show."""

    windows: CineWindows
    shown: Reference


class FrameTask(Task):
    """What both stages share: cutting windows, figures, previews and movies."""

    stage = ""

    def __init__(
        self,
        config: FramePredictionConfig,
        scene: Scene,
        networks: dict[str, nn.Module],
        optimizers: dict[str, Optimizer],
        shipped: tuple[str, ...],
    ) -> None:
        super().__init__(networks, optimizers, shipped)
        self.config, self.scene = config, scene

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        context, truth = self._cut(batch)
        predicted = forecast(networks, context, int(batch["cycle"][0]), truth.shape[1])
        error = psnr(predicted, truth, dims=3).mean(0)
        still = psnr(context[:, -1:], truth, dims=3).mean(0)
        return {
            "PSNR": float(error.mean()),
            "gain over persistence": float((error - still).mean()),
            "SSIM": float(ssim(predicted, truth).mean()),
        }

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Show a held-out window: the truth on the left, the prediction on the right."""
        del draws
        window = self.scene.windows.held_out_window(0)
        context, truth = self._cut({name: v[None].to(self.device) for name, v in window.items()})
        predicted = forecast(networks, context, int(window["cycle"]), truth.shape[1])
        sides = [torch.cat([context, future], 1)[0] for future in (truth, predicted)]
        source = self.scene.windows.test.references[0].read()
        frames = as_array(torch.cat(sides, -1))
        name, times = f"{self.stage}: truth, prediction", frame_times(source, len(frames))
        return (source.with_array(frames, "tzyx", name=name, times=times),)

    def finish(self, networks: Networks, folder: Path) -> None:
        """Leave movies of a held-out series: its last frames, then 5 and 50 predicted ones."""
        volume = self.scene.shown.read()
        if volume.size("t") < self.config.context:
            return
        last = volume.array[-self.config.context :]
        predicted = predict(networks, last, load(volume).cycle, max(MOVIES))
        z = volume.size("z") // 2
        for count in MOVIES:
            frames = np.concatenate([last, predicted[:count]])[:, z : z + 1]
            path = folder / "movies" / f"{self.stage}_{count}_frames.gif"
            path.parent.mkdir(exist_ok=True)
            write_movie(volume.with_array(frames, "tzyx"), path)

    def _cut(self, batch: Batch) -> tuple[Tensor, Tensor]:
        frames = batch["frames"]
        return frames[:, : self.config.context], frames[:, self.config.context :]


class AutoencoderTask(FrameTask):
    """The feedback autoencoder: it learns while it sees its own predictions."""

    stage = "autoencoder"

    def __init__(self, config: FramePredictionConfig, generator: nn.Module, scene: Scene) -> None:
        optimizer = torch.optim.AdamW(
            generator.parameters(), config.learning_rate, betas=(0.9, 0.98), weight_decay=1e-2
        )
        super().__init__(
            config, scene, {"generator": generator}, {"generator": optimizer}, ("generator",)
        )

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        config = self.config
        done = step / config.autoencoder_steps
        self.set_learning_rate("generator", config.learning_rate * one_cycle(done))
        context, truth = self._cut(batch)
        # What comes next matters most and costs least: every other step stays short.
        passes = passes_at(done, config.passes) if step % 2 else 1
        wanted = truth[:, : passes * config.frames_per_pass]
        if done < config.coarse_share:
            context, wanted = halve(context), halve(wanted)
        predicted = self._roll_out(batch, context, passes, draws("noise", device=self.device))
        loss = self._loss(predicted - wanted)
        self.update("generator", loss)
        return {"loss": loss.detach()}

    def _loss(self, error: Tensor) -> Tensor:
        """Let a near frame, which errs little, count as much as a far one, which errs more."""
        if self.config.network == "simple_ugen":
            return functional.huber_loss(error, torch.zeros_like(error))
        if self.config.loss == "log":
            return log_mse(error, dims=3)
        weight = 1 / torch.arange(1, error.shape[1] + 1, device=error.device)
        frames = torch.stack([charbonnier(frame) for frame in error.unbind(1)])
        return (frames * weight).sum() / weight.sum()

    def _roll_out(
        self, batch: Batch, context: Tensor, passes: int, noise: torch.Generator
    ) -> Tensor:
        """Predict, with gradients through the last passes only."""
        rolling = roll_out(
            self.networks["generator"], context, batch["lead"], batch["cycle"], noise
        )
        frames = [next(rolling)]
        for done in range(1, passes):
            keeps = done > passes - self.config.gradient_passes
            frames.append(rolling.send(frames[-1] if keeps else frames[-1].detach()))
        return torch.cat(frames, 1)


class GanTask(FrameTask):
    """The GAN: what is added to the autoencoder's frames must look like real frames.

    The discriminator sees the last real frames and those that follow. For the flow network only the
    texture learns, so the autoencoder's prediction stays what it is; without a first stage, and for
    SimpleUGen, the whole generator learns. SimpleUGen is judged frame by frame as it goes on from
    its own predictions, by cross-entropy; the flow network over one pass, by the hinge loss.
    """

    stage = "gan"

    def __init__(
        self,
        config: FramePredictionConfig,
        built: dict[str, nn.Module],
        judge: nn.Module,
        scene: Scene,
    ) -> None:
        learning = [n for n in built if n != "generator" or _learns_whole(config)]
        built["generator"].requires_grad_("generator" in learning)
        weights = [p for name in learning for p in built[name].parameters()]
        optimizers: dict[str, Optimizer] = {
            "generator": torch.optim.AdamW(weights, config.gan_learning_rate, betas=(0.5, 0.99)),
            "discriminator": torch.optim.AdamW(
                judge.parameters(), config.discriminator_learning_rate, betas=(0.5, 0.99)
            ),
        }
        super().__init__(config, scene, {**built, "discriminator": judge}, optimizers, tuple(built))

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        config = self.config
        done = step / config.gan_steps
        self.set_learning_rate("generator", config.gan_learning_rate * one_cycle(done))
        context, truth = self._cut(batch)
        fake = self._predict(batch, context, draws("noise", device=self.device))
        real = truth[:, : fake.shape[1]]
        losses = self._teach_discriminator(context, real, fake.detach(), step)
        if done >= WARM_UP:
            losses |= self._teach_generator(context, real, fake)
        return losses

    def _predict(self, batch: Batch, context: Tensor, noise: torch.Generator) -> Tensor:
        generator = self.networks["generator"]
        rolling = roll_out(generator, context, batch["lead"], batch["cycle"], noise)
        passes = self.config.passes if self._is_published else 1
        frames = torch.cat([next(rolling) for _ in range(passes)], 1)
        texture = self.networks.get("texture")
        return frames if texture is None else texture(frames, context[:, -1:], noise)

    def _teach_discriminator(
        self, context: Tensor, real: Tensor, fake: Tensor, step: int
    ) -> dict[str, Tensor]:
        judge = self.networks["discriminator"]
        clip = self._clips(context, real).requires_grad_()
        opinion, doubted = judge(clip), judge(self._clips(context, fake))
        if self._is_published:
            loss = bce_loss(opinion, doubted, CERTAINTY)
        else:
            loss = hinge_loss(opinion, doubted)
        penalty = torch.zeros_like(loss)
        if step % PENALTY_EVERY == 0:
            penalty = PENALTY * PENALTY_EVERY * gradient_penalty(opinion, clip)
        self.update("discriminator", loss + penalty)
        return {"discriminator": loss.detach()}

    def _teach_generator(self, context: Tensor, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        config = self.config
        judge = self.networks["discriminator"].requires_grad_(False)
        image = charbonnier(fake - real)
        opinion = judge(self._clips(context, fake))
        adversarial = (
            functional.softplus(-opinion).mean() if self._is_published else -opinion.mean()
        )
        loss = image + config.adversarial_weight * adversarial
        if config.spectral_weight:
            loss = loss + config.spectral_weight * spectral_loss(fake, real, BAND)
        self.update("generator", loss)
        judge.requires_grad_(True)
        return {"image": image.detach(), "adversarial": adversarial.detach()}

    @property
    def _is_published(self) -> bool:
        return self.config.network == "simple_ugen"

    def _clips(self, context: Tensor, frames: Tensor) -> Tensor:
        """Return what the discriminator judges: each pass with the frames just before it."""
        every, count = self.config.frames_per_pass, frames.shape[1]
        clip = torch.cat([context, frames], 1)
        length = context.shape[1] + every
        return torch.cat([clip[:, i : i + length] for i in range(0, count, every)])


def frame_times(source: Volume, count: int) -> tuple[float, ...] | None:
    """Return times of ``count`` frames at the source's rate; None where that is not known."""
    interval = source.frame_interval
    return None if interval is None else tuple(interval * index for index in range(count))


def halve(frames: Tensor) -> Tensor:
    """Return ``(b, t, z, y, x)`` at half the resolution in plane."""
    return functional.avg_pool3d(frames, (1, 2, 2))


def passes_at(done: float, most: int) -> int:
    """Passes of a roll-out: 1, 2, 4 and so on, in equal shares of the training."""
    steps = [1]
    while steps[-1] < most:
        steps.append(min(2 * steps[-1], most))
    return steps[min(int(done * len(steps)), len(steps) - 1)]


def _learns_whole(config: FramePredictionConfig) -> bool:
    return config.network == "simple_ugen" or not config.autoencoder_steps
