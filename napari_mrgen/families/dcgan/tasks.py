"""How generator and discriminator learn from each other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from napari_mrgen.data.slice_volumes import drawn
from napari_mrgen.data.slices import SliceData, told_of
from napari_mrgen.engine.task import Batch, Draws, Networks, Task
from napari_mrgen.families.dcgan.augment import augment
from napari_mrgen.families.dcgan.config import DcganConfig
from napari_mrgen.io.movies import montage
from napari_mrgen.metrics.images import ssim
from napari_mrgen.nn.discriminators import gradient_penalty
from napari_mrgen.nn.losses import charbonnier, spectral_loss
from napari_mrgen.volume import UNKNOWN, Volume

BAND = (0.05, 0.5)
"""Spatial frequencies, in cycles a pixel, whose power is matched."""
PENALTY_EVERY = 16
HEAD_START = 0.25
"""Share of the redrawing in which the discriminator learns already, unheard."""
HEARING = 0.1
"""Share of the training in which it is then heard more and more."""
DIVERGENCE = 1e-4
"""Weight of a nat of the encoder's noise beside the mean error of a redrawn slice."""
SHOWN = 16
"""Samples in a preview."""


class GanTask(Task):
    """Generator and discriminator learn at every step, from the same drawn slices.

    The loss is the cross-entropy of the published DCGAN, which is the non-saturating one of today.
    With an encoder, half of the noise is what it finds in real slices, and those shall be redrawn
    (Larsen et al., "Autoencoding beyond pixels using a learned similarity metric", ICML 2016). In
    slices drawn from the other half it shall find that noise again, or they would be much alike
    (Zhu et al., "Toward multimodal image-to-image translation", NeurIPS 2017).
    """

    def __init__(
        self, config: DcganConfig, networks: dict[str, nn.Module], data: SliceData
    ) -> None:
        betas = (config.momentum, 0.99)
        drawing = [n for name, n in networks.items() if name != "discriminator"]
        weights = [p for network in drawing for p in network.parameters()]
        judging = networks["discriminator"].parameters()
        optimizers: dict[str, Optimizer] = {
            "generator": torch.optim.Adam(weights, config.learning_rate, betas),
            "discriminator": torch.optim.Adam(judging, config.discriminator_learning_rate, betas),
        }
        super().__init__(networks, optimizers, ("generator",), clip_norm=None)
        self.config, self.data = config, data

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        config = self.config
        done = step / config.steps
        self._set_rates(done)
        told = hide(batch["told"], config.hidden_share, draws("hide"))
        real = functional.adaptive_avg_pool2d(batch["image"], size_at(done, config))
        heard = heard_at(done, config.unheard_share)
        fake, redrawing = self._draw(real, told, draws, max(1, len(real) // (2 if heard else 1)))
        losses = {}
        if done >= config.unheard_share * (1 - HEAD_START):
            losses = self._teach_discriminator(real, fake.detach(), told, step, draws)
        return losses | self._teach_generator(fake, real, told, redrawing, draws, heard)

    def _draw(
        self, real: Tensor, told: Tensor, draws: Draws, count: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Draw a batch, of which the first ``count`` are redrawn from real slices; and the losses.

        Their noise is held near the normal distribution by its divergence from it.
        """
        generator, encoder = self.networks["generator"], self.networks.get("encoder")
        noise = torch.randn(len(real), self.config.latent, generator=draws("noise")).to(real)
        if encoder is None:
            return generator(noise, told, real.shape[-1]), {}
        mean, spread = encoder(real[:count])
        found = mean + (spread / 2).exp() * noise[:count]
        fake = generator(torch.cat([found, noise[count:]]), told, real.shape[-1])
        divergence = (mean.square() + spread.exp() - 1 - spread).sum(1).mean() / 2
        losses = {"redrawing": charbonnier(fake[:count] - real[:count]), "nats": divergence}
        if self.config.finding_weight and count < len(real):
            # The generator shall show the noise, not the encoder guess it.
            encoder.requires_grad_(False)
            again, _ = encoder(fake[count:])
            encoder.requires_grad_(True)
            losses["finding"] = (again - noise[count:]).abs().mean()
        return fake, losses

    def _set_rates(self, done: float) -> None:
        config = self.config
        is_unheard = done < config.unheard_share
        rate = config.learning_rate if is_unheard else config.gan_learning_rate
        share = rate_at(done, config.constant_share)
        self.set_learning_rate("generator", share * rate)
        self.set_learning_rate("discriminator", share * config.discriminator_learning_rate)

    def _teach_discriminator(
        self, real: Tensor, fake: Tensor, told: Tensor, step: int, draws: Draws
    ) -> dict[str, Tensor]:
        is_smoothed = self.config.penalty > 0 and step % PENALTY_EVERY == 0
        seen = self._augment(real, draws("real")).requires_grad_(is_smoothed)
        opinion = self._judge(seen, told, draws("real", "dropout"))
        against = self._judge(self._augment(fake, draws("fake")), told, draws("fake", "dropout"))
        loss = functional.softplus(-opinion).mean() + functional.softplus(against).mean()
        penalty = torch.zeros_like(loss)
        if is_smoothed:
            # Of images with fewer pixels each pixel counts more.
            weight = self.config.penalty * (seen.shape[-1] / self.config.size) ** 2
            penalty = weight * PENALTY_EVERY / 2 * gradient_penalty(opinion, seen)
        self.update("discriminator", loss + penalty)
        return {"discriminator": loss.detach()}

    def _teach_generator(
        self,
        fake: Tensor,
        real: Tensor,
        told: Tensor,
        redrawing: Mapping[str, Tensor],
        draws: Draws,
        heard: float,
    ) -> dict[str, Tensor]:
        """Teach it to redraw, and texture as far as the discriminator is ``heard``."""
        config, losses = self.config, dict(redrawing)
        loss = fake.new_zeros(())
        if redrawing:
            error = redrawing["redrawing"] + DIVERGENCE * redrawing["nats"]
            loss = config.redraw_weight * error
        if "finding" in redrawing:
            loss = loss + config.finding_weight * redrawing["finding"]
        if heard:
            self.networks["discriminator"].requires_grad_(False)
            seen = self._augment(fake, draws("generator"))
            opinion = self._judge(seen, told, draws("generator", "dropout"))
            losses["generator"] = functional.softplus(-opinion).mean()
            loss = loss + heard * losses["generator"]
        if heard and config.spectral_weight:
            losses["spectrum"] = spectral_loss(fake, real, BAND)
            loss = loss + heard * config.spectral_weight * losses["spectrum"]
        self.update("generator", loss)
        self.networks["discriminator"].requires_grad_(True)
        return {name: value.detach() for name, value in losses.items()}

    def _augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return augment(images, generator, self.config.augmentation)

    def _judge(
        self, images: Tensor, told: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.networks["discriminator"](images, told, generator)  # type: ignore[no-any-return]

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        """Let the discriminator judge, and find each sample's nearest held-out slice of its level.

        ``fooled``: share of drawn slices that the discriminator takes for real; ``fails``: share of
        real ones that it takes for drawn.
        """
        real, told = batch["image"], batch["told"]
        noise = self._fixed_noise(len(real)).to(real)
        fake = networks["generator"](noise, told, self.config.size).clamp(0, 1)
        similar = ssim(fake[:, 0], self._gallery[:, : len(real)].to(fake)).amax(0)
        return {
            "best SSIM to held-out slices": float(similar.mean()),
            "fooled": float((self._judge(fake, told) > 0).float().mean()),
            "fails": float((self._judge(real, told) < 0).float().mean()),
        }

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Show samples from fixed noise, the first level at the top, as one picture."""
        noise = torch.randn(SHOWN, self.config.latent, generator=draws("noise"))
        told = told_of((torch.arange(SHOWN) + 0.5) / SHOWN, UNKNOWN)
        size = self.config.size
        images = networks["generator"](noise.to(self.device), told.to(self.device), size)
        grid = montage(images[:, 0].float().clamp(0, 1).cpu().numpy())
        volume = drawn(torch.from_numpy(grid)[None], self.data.describe(), "drawn slices")
        return (volume.with_array(volume.array[0], "zyx"),)

    @cached_property
    def _gallery(self) -> Tensor:
        """Held-out slices ``(volume, level, y, x)``."""
        return torch.stack([batch["image"][:, 0] for batch in self.data.held_out()])

    def _fixed_noise(self, count: int) -> Tensor:
        generator = Draws((self.config.seed, "evaluate"))()
        return torch.randn(count, self.config.latent, generator=generator)


def size_at(done: float, config: DcganConfig) -> int:
    """Return the width of images at a share of the training: a quarter, a half, then the whole."""
    if done >= config.coarse_share or config.network == "dcgan":
        return config.size
    return config.size // (4 if done < config.coarse_share / 2 else 2)


def heard_at(done: float, unheard_share: float) -> float:
    """Return how much the generator hears of the discriminator: nothing at first, then all."""
    if not unheard_share:
        return 1.0
    return min(1.0, max(0.0, (done - unheard_share) / HEARING))


def rate_at(done: float, constant: float) -> float:
    """Return the learning rate as a share of its full one; it ends at a twentieth."""
    if done <= constant:
        return 1.0
    return 1 - 0.95 * (done - constant) / (1 - constant)


def hide(told: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return ``told`` ``(n, 4)`` with age and sex not known for a share of the slices."""
    shown = torch.rand(len(told), 1, generator=generator) >= share
    level, rest = told[:, :1], told[:, 1:]
    return torch.cat([level, rest * shown.to(rest)], 1)
