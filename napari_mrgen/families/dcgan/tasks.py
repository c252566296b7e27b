"""Training of generator, discriminator and encoder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from napari_mrgen.data.slice_volumes import sampled_volume
from napari_mrgen.data.slices import SliceData, condition_vectors
from napari_mrgen.engine.task import Batch, Draws, Networks, Task, frozen
from napari_mrgen.families.dcgan.config import DcganConfig
from napari_mrgen.io.movies import montage
from napari_mrgen.metrics.images import ssim
from napari_mrgen.nn.discriminators import gradient_penalty
from napari_mrgen.nn.losses import charbonnier, spectral_loss
from napari_mrgen.volume import UNKNOWN, Volume

BAND = (0.05, 0.5)
"""Band of spatial frequencies, in cycles a pixel, in which the power spectra are compared."""
PENALTY_EVERY = 16
"""Steps between two gradient penalties (lazy regularisation)."""
HEAD_START = 0.25
"""Share of the reconstruction share, its end, in which the discriminator is already trained."""
WARM_UP = 0.1
"""Share of the training over which the adversarial weight then rises to 1."""
DIVERGENCE = 1e-4
"""Weight of the Kullback-Leibler divergence, in nats, relative to the reconstruction error."""
SHOWN = 16
"""Samples of a preview."""
_SHIFT, _HOLE = 0.125, 0.4
"""Largest shift, and width of the cutout, as shares of the image."""
_BRIGHTNESS, _CONTRAST = 0.1, 0.2
"""These are mild, since intensity distinguishes the tissues."""


class GanTask(Task):
    """Generator and discriminator are updated at every step, from the same samples.

    The adversarial loss is the non-saturating cross-entropy of the published DCGAN. With an
    encoder, half of the latents are encoded from real slices, which the generator reconstructs
    (VAE-GAN: Larsen et al., "Autoencoding beyond pixels using a learned similarity metric", ICML
    2016); of the other half the encoder recovers the latents from the samples, which counters mode
    collapse (BicycleGAN: Zhu et al., "Toward multimodal image-to-image translation", NeurIPS 2017).
    """

    def __init__(
        self, config: DcganConfig, networks: dict[str, nn.Module], data: SliceData
    ) -> None:
        betas = (config.momentum, 0.99)
        generators = [n for name, n in networks.items() if name != "discriminator"]
        weights = [p for network in generators for p in network.parameters()]
        discriminator = networks["discriminator"].parameters()
        optimizers: dict[str, Optimizer] = {
            "generator": torch.optim.Adam(weights, config.learning_rate, betas),
            "discriminator": torch.optim.Adam(
                discriminator, config.discriminator_learning_rate, betas
            ),
        }
        super().__init__(networks, optimizers, ("generator",), clip_norm=None)
        self.config, self.data = config, data

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        config = self.config
        done = step / config.steps
        self._set_rates(done)
        conditions = drop_conditions(batch["conditions"], config.condition_dropout, draws("hide"))
        real = functional.adaptive_avg_pool2d(batch["image"], resolution_at(done, config))
        weight = adversarial_weight_at(done, config.warm_up_share)
        count = max(1, len(real) // (2 if weight else 1))
        fake, reconstruction = self._generate(real, conditions, draws, count)
        losses = {}
        if done >= config.warm_up_share * (1 - HEAD_START):
            losses = self._update_discriminator(real, fake.detach(), conditions, step, draws)
        return losses | self._update_generator(
            fake, real, conditions, reconstruction, draws, weight
        )

    def _generate(
        self, real: Tensor, conditions: Tensor, draws: Draws, count: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a batch of samples and its losses; the first ``count`` reconstruct real slices.

        Their latents are kept near the normal distribution by its Kullback-Leibler divergence.
        """
        generator, encoder = self.networks["generator"], self.networks.get("encoder")
        noise = torch.randn(len(real), self.config.latent, generator=draws("noise")).to(real)
        if encoder is None:
            return generator(noise, conditions, real.shape[-1]), {}
        mean, spread = encoder(real[:count])
        latent = mean + (spread / 2).exp() * noise[:count]
        fake = generator(torch.cat([latent, noise[count:]]), conditions, real.shape[-1])
        divergence = (mean.square() + spread.exp() - 1 - spread).sum(1).mean() / 2
        losses = {
            "reconstruction": charbonnier(fake[:count] - real[:count]),
            "divergence": divergence,
        }
        if self.config.latent_regression_weight and count < len(real):
            # Only the generator learns from this loss: the encoder must not learn to guess.
            with frozen(encoder):
                recovered, _ = encoder(fake[count:])
            losses["latent regression"] = (recovered - noise[count:]).abs().mean()
        return fake, losses

    def _set_rates(self, done: float) -> None:
        config = self.config
        reconstructs_only = done < config.warm_up_share
        rate = config.learning_rate if reconstructs_only else config.gan_learning_rate
        share = learning_rate_share(done, config.constant_share)
        self.set_learning_rate("generator", share * rate)
        self.set_learning_rate("discriminator", share * config.discriminator_learning_rate)

    def _update_discriminator(
        self, real: Tensor, fake: Tensor, conditions: Tensor, step: int, draws: Draws
    ) -> dict[str, Tensor]:
        is_smoothed = self.config.penalty > 0 and step % PENALTY_EVERY == 0
        seen = self._augment(real, draws("real")).requires_grad_(is_smoothed)
        real_logits = self._logits(seen, conditions, draws("real", "dropout"))
        augmented = self._augment(fake, draws("fake"))
        fake_logits = self._logits(augmented, conditions, draws("fake", "dropout"))
        loss = functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()
        penalty = torch.zeros_like(loss)
        if is_smoothed:
            # At lower resolution each pixel stands for more of the image.
            weight = self.config.penalty * (seen.shape[-1] / self.config.size) ** 2
            penalty = weight * PENALTY_EVERY / 2 * gradient_penalty(real_logits, seen)
        self.update("discriminator", loss + penalty)
        return {"discriminator": loss.detach()}

    def _update_generator(
        self,
        fake: Tensor,
        real: Tensor,
        conditions: Tensor,
        reconstruction: Mapping[str, Tensor],
        draws: Draws,
        adversarial_weight: float,
    ) -> dict[str, Tensor]:
        config, losses = self.config, dict(reconstruction)
        loss = fake.new_zeros(())
        if reconstruction:
            error = reconstruction["reconstruction"] + DIVERGENCE * reconstruction["divergence"]
            loss = config.reconstruction_weight * error
        if "latent regression" in losses:
            loss = loss + config.latent_regression_weight * losses["latent regression"]
        if adversarial_weight:
            with frozen(self.networks["discriminator"]):
                seen = self._augment(fake, draws("generator"))
                logits = self._logits(seen, conditions, draws("generator", "dropout"))
            losses["generator"] = functional.softplus(-logits).mean()
            loss = loss + adversarial_weight * losses["generator"]
        if adversarial_weight and config.spectral_weight:
            losses["spectrum"] = spectral_loss(fake, real, BAND)
            loss = loss + adversarial_weight * config.spectral_weight * losses["spectrum"]
        self.update("generator", loss)
        return {name: value.detach() for name, value in losses.items()}

    def _augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return augment(images, generator, self.config.augmentation)

    def _logits(
        self, images: Tensor, conditions: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.networks["discriminator"](images, conditions, generator)  # type: ignore[no-any-return]

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        """Return SSIM to the nearest held-out slice, and the discriminator's errors."""
        real, conditions = batch["image"], batch["conditions"]
        noise = self._fixed_noise(len(real)).to(real)
        fake = networks["generator"](noise, conditions, self.config.size).clamp(0, 1)
        similar = ssim(fake[:, 0], self._gallery[:, : len(real)].to(fake)).amax(0)
        return {
            "best SSIM to held-out slices": float(similar.mean()),
            "samples classified real": float((self._logits(fake, conditions) > 0).float().mean()),
            "real classified synthetic": float((self._logits(real, conditions) < 0).float().mean()),
        }

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Show samples of fixed noise, the first level at the top, as one picture."""
        noise = torch.randn(SHOWN, self.config.latent, generator=draws("noise"))
        conditions = condition_vectors((torch.arange(SHOWN) + 0.5) / SHOWN, UNKNOWN)
        size = self.config.size
        images = networks["generator"](noise.to(self.device), conditions.to(self.device), size)
        grid = montage(images[:, 0].float().clamp(0, 1).cpu().numpy())
        volume = sampled_volume(torch.from_numpy(grid)[None], self.data.describe(), "samples")
        return (volume.with_array(volume.array[0], "zyx"),)

    @cached_property
    def _gallery(self) -> Tensor:
        """Held-out slices ``(volume, level, y, x)``."""
        return torch.stack([batch["image"][:, 0] for batch in self.data.held_out()])

    def _fixed_noise(self, count: int) -> Tensor:
        generator = Draws((self.config.seed, "evaluate"))()
        return torch.randn(count, self.config.latent, generator=generator)


def resolution_at(done: float, config: DcganConfig) -> int:
    """Return the image width at a share of the training: a quarter, a half, then the whole."""
    if done >= config.coarse_share or config.network == "published":
        return config.size
    return config.size // (4 if done < config.coarse_share / 2 else 2)


def adversarial_weight_at(done: float, warm_up_share: float) -> float:
    """Return the weight of the adversarial loss: 0 at first, then rising to 1."""
    if not warm_up_share:
        return 1.0
    return min(1.0, max(0.0, (done - warm_up_share) / WARM_UP))


def learning_rate_share(done: float, constant: float) -> float:
    """Return the learning rate as a share of its full value; it ends at a twentieth."""
    if done <= constant:
        return 1.0
    return 1 - 0.95 * (done - constant) / (1 - constant)


def drop_conditions(conditions: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return conditions ``(n, 4)`` with age and sex unknown for a share of the slices."""
    shown = torch.rand(len(conditions), 1, generator=generator) >= share
    level, rest = conditions[:, :1], conditions[:, 1:]
    return torch.cat([level, rest * shown.to(rest)], 1)


def augment(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Vary images ``(n, c, y, x)`` between 0 and 1: intensity, position, and a square cut out.

    Real and generated images are augmented alike, and gradients flow through (DiffAugment): a
    discriminator that gets only augmented images cannot memorise a few hundred training images.
    A ``strength`` of 0 leaves images as they are.

    References
    ----------
    Zhao et al., "Differentiable augmentation for data-efficient GAN training", NeurIPS 2020.
    """
    if strength == 0:
        return images
    draws = torch.rand(6, len(images), 1, 1, 1, generator=generator, device=generator.device)
    bright, contrast, *places = draws.to(images)
    mean = images.mean((1, 2, 3), keepdim=True)
    varied = (images - mean) * (1 + strength * _CONTRAST * (2 * contrast - 1)) + mean
    varied = varied + strength * _BRIGHTNESS * (bright - 0.5)
    shifted = _shift(varied, *(strength * _SHIFT * (2 * place - 1) for place in places[:2]))
    return shifted * _outside(images, strength * _HOLE, *places[2:])


def _shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Translate by whole pixels, given as shares of the image; new pixels are black."""
    n, c, height, width = images.shape
    y = torch.arange(height, device=images.device) - (down * height).round().long().view(n, 1)
    x = torch.arange(width, device=images.device) - (right * width).round().long().view(n, 1)
    padded = functional.pad(images, (1, 1, 1, 1))
    y, x = (y + 1).clamp(0, height + 1), (x + 1).clamp(0, width + 1)
    rows = padded.gather(2, y.view(n, 1, height, 1).expand(n, c, height, width + 2))
    return rows.gather(3, x.view(n, 1, 1, width).expand(n, c, height, width))


def _outside(images: Tensor, size: float, down: Tensor, right: Tensor) -> Tensor:
    """Return a mask ``(n, 1, y, x)``: 0 inside a square centred anywhere, 1 outside."""
    height, width = images.shape[-2:]
    y = (torch.arange(height, device=images.device) + 0.5).view(1, 1, height, 1) / height
    x = (torch.arange(width, device=images.device) + 0.5).view(1, 1, 1, width) / width
    inside = ((y - down).abs() < size / 2) & ((x - right).abs() < size / 2)
    return (~inside).to(images)
