"""Training of the autoencoder and of its decoder's texture."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from napari_mrgen.data.slices import SliceData
from napari_mrgen.engine.task import Batch, Draws, Networks, Task, frozen
from napari_mrgen.families.vqvae.config import VqVaeConfig
from napari_mrgen.families.vqvae.networks import (
    BRIGHTNESS,
    CONTRAST,
    codebook,
    decode,
    encode,
    shade,
)
from napari_mrgen.families.vqvae.quantization import perplexity, used_share
from napari_mrgen.metrics.images import head_mask, psnr, ssim
from napari_mrgen.nn.discriminators import hinge_loss
from napari_mrgen.nn.losses import spectral_loss
from napari_mrgen.nn.schedules import one_cycle
from napari_mrgen.volume import Volume

CODES = ("encoder", "codebook")
"""Networks that turn slices into codes; fixed after the first stage."""
WARM_UP = 0.1
"""Share of the second stage over which the adversarial weight rises to its full value."""
WHOLE_SHARE = 0.12
"""Share of a stage, its end, that is trained on whole slices."""
L1_WEIGHT = 4.0
"""Weight of the mean absolute error, which is about a quarter of 1 - SSIM."""
BAND = (0.1, 0.5)
"""Band of spatial frequencies, in cycles a pixel, in which the power spectra are compared."""
VARIANCE = 0.0338
"""Variance of intensities, by which the published system divided its error."""


class AutoencoderTask(Task):
    """Loss, metrics and previews that both stages of the autoencoder share."""

    config: VqVaeConfig
    data: SliceData

    def _crops(self, batch: Batch, done: float, draws: Draws) -> Tensor:
        """Return random crops of the slices; at the end of a stage, whole slices."""
        if done >= 1 - WHOLE_SHARE:
            return batch["image"]
        return crop(batch["image"], self.config.patch, draws("crop", device=self.device))

    def _image_loss(self, reconstruction: Tensor, images: Tensor) -> Tensor:
        loss = L1_WEIGHT * (reconstruction - images).abs().mean()
        loss = loss + self.config.ssim_weight * (1 - ssim(reconstruction, images).mean())
        if self.config.spectral_weight:
            weight = self.config.spectral_weight
            loss = loss + weight * spectral_loss(reconstruction[:, 0], images[:, 0], BAND)
        return loss

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        images = batch["image"]
        reconstruction = decode(networks, encode(networks, images))
        usage = codebook(networks).usage
        return {
            "SSIM": float(ssim(reconstruction, images).mean()),
            "SSIM in head": float(ssim(reconstruction, images, mask=head_mask(images)).nanmean()),
            "PSNR": float(psnr(reconstruction, images).mean()),
            "perplexity": float(perplexity(usage)),
            "codes used": float(used_share(usage)),
        }

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Show held-out slices: the original, its reconstruction, and its map of codes."""
        del draws
        images = torch.cat([b["image"] for b in itertools.islice(self.data.held_out(), 1)])
        images = images.to(self.device)
        indices = encode(networks, images)
        book = codebook(networks)
        shaded = shade(book.embed(indices), book, self.config.factor)
        sides = [images, decode(networks, indices), shaded]
        name = "vqvae: slice, reconstruction, codes"
        return (as_volume(torch.cat(sides, -1)[:, 0], self.data.train_slices.spacing, name),)


class VqVaeTask(AutoencoderTask):
    """First stage: encoder, codebook and decoder."""

    def __init__(
        self, config: VqVaeConfig, networks: dict[str, nn.Module], data: SliceData
    ) -> None:
        is_published = config.network == "published"
        weights = [p for network in networks.values() for p in network.parameters()]
        optimizer: Optimizer = (
            torch.optim.Adam(weights, config.learning_rate)
            if is_published
            else torch.optim.AdamW(
                weights, config.learning_rate, betas=(0.9, 0.98), weight_decay=1e-2
            )
        )
        self.config, self.data, self._is_published = config, data, is_published
        # A module, so that it is saved and averaged over processes like the others.
        self.running_loss = RunningMean()
        super().__init__(
            {**networks, "running_loss": self.running_loss},
            {"autoencoder": optimizer},
            tuple(networks),
        )

    @property
    def is_done(self) -> bool:
        stop_at = self.config.stop_at
        return (
            stop_at is not None
            and self.running_loss.is_settled
            and self.running_loss.mean < stop_at
        )

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        done = step / self.config.vqvae_steps
        if not self._is_published:
            rate = self.config.learning_rate * one_cycle(done)
            self.set_learning_rate("autoencoder", rate)
        images = self._crops(batch, done, draws)
        vectors = self.networks["encoder"](images)
        quantized = self.networks["codebook"](vectors, draws("codes", device=self.device))
        reconstruction = self.networks["decoder"](quantized.vectors)
        image = self._image_loss(reconstruction, images)
        self.update("autoencoder", image + quantized.loss)
        self.running_loss(image.detach())
        return {"reconstruction": image.detach(), "codes": quantized.loss.detach()}

    def _image_loss(self, reconstruction: Tensor, images: Tensor) -> Tensor:
        if self._is_published:
            return (reconstruction - images).square().mean() / VARIANCE
        return super()._image_loss(reconstruction, images)


class TextureTask(AutoencoderTask):
    """Second stage: the decoder is refined against a discriminator; encoder and codes stay fixed.

    A code stands for many pixels, and a decoder that only minimises its error returns their mean,
    which is blurred (Esser et al., "Taming transformers for high-resolution image synthesis", CVPR
    2021). As the codes are fixed, a prior over them stays valid.
    """

    def __init__(
        self,
        config: VqVaeConfig,
        networks: dict[str, nn.Module],
        discriminator: nn.Module,
        data: SliceData,
    ) -> None:
        for name in CODES:
            networks[name].requires_grad_(False)
        optimizers: dict[str, Optimizer] = {
            name: torch.optim.Adam(network.parameters(), config.texture_rate, betas=(0.5, 0.99))
            for name, network in (
                ("decoder", networks["decoder"]),
                ("discriminator", discriminator),
            )
        }
        self.config, self.data = config, data
        super().__init__({**networks, "discriminator": discriminator}, optimizers, tuple(networks))

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        done = step / self.config.texture_steps
        rate = self.config.texture_rate * one_cycle(done)
        self.set_learning_rate("decoder", rate)
        images, discriminator = self._crops(batch, done, draws), self.networks["discriminator"]
        with torch.no_grad():
            vectors = self.networks["codebook"](self.networks["encoder"](images)).vectors
        reconstruction = self.networks["decoder"](vectors)
        discriminator_loss = hinge_loss(
            _logits(discriminator, images), _logits(discriminator, reconstruction.detach())
        )
        self.update("discriminator", discriminator_loss)
        image = self._image_loss(reconstruction, images)
        with frozen(discriminator):
            adversarial = -_logits(discriminator, reconstruction).mean()
        warm_up = min(1.0, done / WARM_UP)
        self.update("decoder", image + warm_up * self.config.texture_weight * adversarial)
        return {
            "reconstruction": image.detach(),
            "texture": adversarial.detach(),
            "discriminator": discriminator_loss.detach(),
        }


class RunningMean(nn.Module):
    """Moving average of a loss, kept in buffers: it is saved, and the same in all processes.

    Parameters
    ----------
    length
        Number of values, about, over which it averages.
    """

    total: Tensor
    weight: Tensor

    def __init__(self, length: int = 100) -> None:
        super().__init__()
        self.length = length
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    @torch.no_grad()
    def forward(self, value: Tensor) -> None:
        """Add a value."""
        self.total.lerp_(value.to(self.total), 1 / self.length)
        self.weight.lerp_(torch.ones_like(self.weight), 1 / self.length)

    @property
    def is_settled(self) -> bool:
        """Whether enough values were added for the mean to be meaningful."""
        return float(self.weight) > 0.63

    @property
    def mean(self) -> float:
        return float(self.total / self.weight)


def _logits(discriminator: nn.Module, images: Tensor) -> Tensor:
    return discriminator(CONTRAST * (images - BRIGHTNESS))  # type: ignore[no-any-return]


def crop(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Crop a random square of ``size`` pixels from each image ``(n, 1, y, x)``.

    Crops near the centre are likelier: the head is there, and the borders are mostly background.
    """
    n, _, height, width = images.shape
    if size >= min(height, width):
        return images
    y, x = (
        torch.randint(0, length - size + 1, (2, n, 1), generator=generator, device=images.device)
        .sum(0)
        .div(2, rounding_mode="floor")
        for length in (height, width)
    )
    span = torch.arange(size, device=images.device)
    rows, columns = (y + span)[:, :, None], (x + span)[:, None, :]
    each = torch.arange(n, device=images.device)[:, None, None]
    return images[each, 0, rows, columns][:, None]


def as_volume(images: Tensor, spacing: tuple[float, float, float], name: str) -> Volume:
    """Return images ``(n, y, x)`` as a stack with the slices' voxel size in mm."""
    array = images.float().cpu().numpy().astype(np.float32)
    z, y, x = spacing
    # Downwards, to the back and to the patient's left: a reader turns a file round otherwise.
    affine = np.diag([-x, -y, -z, 1.0])[:, [2, 1, 0, 3]]
    return Volume(array, "zyx", affine, name=name)
