"""Training of the two stages: feedback autoencoder and GAN."""

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
from napari_mrgen.engine.task import Batch, Draws, Networks, Task, frozen
from napari_mrgen.families.frame_prediction.config import FramePredictionConfig
from napari_mrgen.families.frame_prediction.networks import roll_out
from napari_mrgen.families.frame_prediction.sampling import forecast, predict
from napari_mrgen.io.find import Reference
from napari_mrgen.io.movies import write_movie
from napari_mrgen.metrics.images import psnr, ssim
from napari_mrgen.nn.discriminators import bce_loss, gradient_penalty, hinge_loss
from napari_mrgen.nn.losses import charbonnier, log_mse, spectral_loss
from napari_mrgen.nn.schedules import one_cycle
from napari_mrgen.volume import Volume

MOVIES = (5, 50)
"""Numbers of predicted frames in the movies that a stage writes."""
BAND = (0.1, 0.5)
"""Band of spatial frequencies, in cycles a pixel, in which the GAN stage compares power spectra."""
PENALTY_EVERY = 16
"""Steps between two gradient penalties (lazy regularisation)."""
PENALTY = 1.0
"""Weight of the R1 gradient penalty."""
WARM_UP = 0.15
"""Share of the GAN stage, its beginning, in which only the discriminator is trained."""
REAL_LABEL = 0.9
"""Label of real clips in the published network (one-sided label smoothing)."""


@dataclass(frozen=True)
class PreviewSource:
    """The windows that a task trains on, and the held-out series of its movies."""

    windows: CineWindows
    shown: Reference


class FrameTask(Task):
    """Windows, metrics, previews and movies that both stages share."""

    stage = ""

    def __init__(
        self,
        config: FramePredictionConfig,
        source: PreviewSource,
        networks: dict[str, nn.Module],
        optimizers: dict[str, Optimizer],
        shipped: tuple[str, ...],
    ) -> None:
        super().__init__(networks, optimizers, shipped)
        self.config, self.source = config, source

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        context, truth = self._cut(batch)
        predicted = forecast(networks, context, int(batch["cycle"][0]), truth.shape[1])
        error = psnr(predicted, truth, dims=3).mean(0)
        persistence = psnr(context[:, -1:], truth, dims=3).mean(0)
        return {
            "PSNR": float(error.mean()),
            "gain over persistence": float((error - persistence).mean()),
            "SSIM": float(ssim(predicted, truth).mean()),
        }

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Show a held-out window: the truth on the left, the prediction on the right."""
        del draws
        window = self.source.windows.held_out_window(0)
        context, truth = self._cut({name: v[None].to(self.device) for name, v in window.items()})
        predicted = forecast(networks, context, int(window["cycle"]), truth.shape[1])
        sides = [torch.cat([context, frames], 1)[0] for frames in (truth, predicted)]
        source = self.source.windows.test.references[0].read()
        frames = as_array(torch.cat(sides, -1))
        name, times = f"{self.stage}: truth, prediction", frame_times(source, len(frames))
        return (source.with_array(frames, "tzyx", name=name, times=times),)

    def finish(self, networks: Networks, folder: Path) -> None:
        """Write movies of a held-out series: its last frames, then 5 and 50 predicted ones."""
        volume = self.source.shown.read()
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
    """First stage: the autoencoder is trained on a roll-out of its own predictions."""

    stage = "autoencoder"

    def __init__(
        self, config: FramePredictionConfig, generator: nn.Module, source: PreviewSource
    ) -> None:
        optimizer = torch.optim.AdamW(
            generator.parameters(), config.learning_rate, betas=(0.9, 0.98), weight_decay=1e-2
        )
        super().__init__(
            config, source, {"generator": generator}, {"generator": optimizer}, ("generator",)
        )

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        config = self.config
        done = step / config.autoencoder_steps
        self.set_learning_rate("generator", config.learning_rate * one_cycle(done))
        context, truth = self._cut(batch)
        # The nearest frames matter most and cost least: every other step has one pass only.
        passes = passes_at(done, config.passes) if step % 2 else 1
        target = truth[:, : passes * config.frames_per_pass]
        if done < config.coarse_share:
            # Half the resolution in plane.
            context, target = (functional.avg_pool3d(x, (1, 2, 2)) for x in (context, target))
        predicted = self._roll_out(batch, context, passes, draws("noise", device=self.device))
        loss = self._loss(predicted - target)
        self.update("generator", loss)
        return {"loss": loss.detach()}

    def _loss(self, error: Tensor) -> Tensor:
        """Weight near frames, whose error is small, as much as far ones."""
        if self.config.network == "published":
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
    """Second stage: the GAN, which adds texture to the autoencoder's frames.

    The discriminator gets the context frames and those that follow. Of the flow network only the
    texture is trained, so the autoencoder's prediction does not change; without a first stage, and
    for the published network, the whole generator is trained. The published network has a
    cross-entropy loss frame by frame over its roll-out, the flow network a hinge loss over one
    pass.
    """

    stage = "gan"

    def __init__(
        self,
        config: FramePredictionConfig,
        networks: dict[str, nn.Module],
        discriminator: nn.Module,
        source: PreviewSource,
    ) -> None:
        is_whole = config.network == "published" or not config.autoencoder_steps
        trained = [name for name in networks if name != "generator" or is_whole]
        networks["generator"].requires_grad_(is_whole)
        weights = [p for name in trained for p in networks[name].parameters()]
        optimizers: dict[str, Optimizer] = {
            "generator": torch.optim.AdamW(weights, config.gan_learning_rate, betas=(0.5, 0.99)),
            "discriminator": torch.optim.AdamW(
                discriminator.parameters(), config.discriminator_learning_rate, betas=(0.5, 0.99)
            ),
        }
        super().__init__(
            config,
            source,
            {**networks, "discriminator": discriminator},
            optimizers,
            tuple(networks),
        )

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        config = self.config
        done = step / config.gan_steps
        self.set_learning_rate("generator", config.gan_learning_rate * one_cycle(done))
        context, truth = self._cut(batch)
        fake = self._predict(batch, context, draws("noise", device=self.device))
        real = truth[:, : fake.shape[1]]
        losses = self._update_discriminator(context, real, fake.detach(), step)
        if done >= WARM_UP:
            losses |= self._update_generator(context, real, fake)
        return losses

    def _predict(self, batch: Batch, context: Tensor, noise: torch.Generator) -> Tensor:
        generator = self.networks["generator"]
        rolling = roll_out(generator, context, batch["lead"], batch["cycle"], noise)
        passes = self.config.passes if self._is_published else 1
        frames = torch.cat([next(rolling) for _ in range(passes)], 1)
        texture = self.networks.get("texture")
        return frames if texture is None else texture(frames, context[:, -1:], noise)

    def _update_discriminator(
        self, context: Tensor, real: Tensor, fake: Tensor, step: int
    ) -> dict[str, Tensor]:
        discriminator = self.networks["discriminator"]
        clip = self._clips(context, real).requires_grad_()
        real_logits = discriminator(clip)
        fake_logits = discriminator(self._clips(context, fake))
        if self._is_published:
            loss = bce_loss(real_logits, fake_logits, REAL_LABEL)
        else:
            loss = hinge_loss(real_logits, fake_logits)
        penalty = torch.zeros_like(loss)
        if step % PENALTY_EVERY == 0:
            penalty = PENALTY * PENALTY_EVERY * gradient_penalty(real_logits, clip)
        self.update("discriminator", loss + penalty)
        return {"discriminator": loss.detach()}

    def _update_generator(self, context: Tensor, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        config = self.config
        image = charbonnier(fake - real)
        with frozen(self.networks["discriminator"]) as discriminator:
            logits = discriminator(self._clips(context, fake))
        adversarial = functional.softplus(-logits).mean() if self._is_published else -logits.mean()
        loss = image + config.adversarial_weight * adversarial
        if config.spectral_weight:
            loss = loss + config.spectral_weight * spectral_loss(fake, real, BAND)
        self.update("generator", loss)
        return {"image": image.detach(), "adversarial": adversarial.detach()}

    @property
    def _is_published(self) -> bool:
        return self.config.network == "published"

    def _clips(self, context: Tensor, frames: Tensor) -> Tensor:
        """Return the clips of the discriminator: each pass with the frames just before it."""
        every, count = self.config.frames_per_pass, frames.shape[1]
        clip = torch.cat([context, frames], 1)
        length = context.shape[1] + every
        return torch.cat([clip[:, i : i + length] for i in range(0, count, every)])


def frame_times(source: Volume, count: int) -> tuple[float, ...] | None:
    """Return times of ``count`` frames at the source's rate; None where that is not known."""
    interval = source.frame_interval
    return None if interval is None else tuple(interval * index for index in range(count))


def passes_at(done: float, greatest: int) -> int:
    """Return the passes of a roll-out: 1, 2, 4 and so on, in equal shares of the training.

    Examples
    --------
    >>> [passes_at(done, 4) for done in (0.0, 0.5, 0.9)]
    [1, 2, 4]
    """
    steps = [1]
    while steps[-1] < greatest:
        steps.append(min(2 * steps[-1], greatest))
    return steps[min(int(done * len(steps)), len(steps) - 1)]
