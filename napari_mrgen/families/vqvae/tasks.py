"""How the first stage learns: to say in codes what a slice shows, and to paint it again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from napari_mrgen.data.slices import SliceData
from napari_mrgen.engine.task import Batch, Draws, Networks, Task
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
from napari_mrgen.metrics.images import psnr, ssim
from napari_mrgen.metrics.masks import head_mask
from napari_mrgen.nn.discriminators import hinge_loss
from napari_mrgen.nn.gauge import Gauge
from napari_mrgen.nn.losses import spectral_loss
from napari_mrgen.nn.schedules import one_cycle
from napari_mrgen.volume import Volume

CODES = ("encoder", "codebook")
"""Networks that say what a slice shows."""
HEARING = 0.1
"""Share of the texture's training in which the discriminator is heard more and more."""
WHOLE_SHARE = 0.12
"""Share of the stage, its last, in which whole slices are seen."""
L1_WEIGHT = 4.0
"""Of the mean absolute error: it is about a quarter of one minus the structural similarity."""
BAND = (0.1, 0.5)
"""Spatial frequencies, in cycles a pixel, whose power is matched."""
VARIANCE = 0.0338
"""Of intensities: by it the published system divided its error."""


class AutoencoderTask(Task):
    """What the stages share that learn to paint slices from codes: loss, figures and previews."""

    config: VqVaeConfig
    data: SliceData

    def _seen(self, batch: Batch, done: float, draws: Draws) -> Tensor:
        """Return parts of the slices; at the end of a stage, the whole."""
        if done >= 1 - WHOLE_SHARE:
            return batch["image"]
        return crop(batch["image"], self.config.patch, draws("crop", device=self.device))

    def _image_loss(self, painted: Tensor, images: Tensor) -> Tensor:
        loss = L1_WEIGHT * (painted - images).abs().mean()
        loss = loss + self.config.ssim_weight * (1 - ssim(painted, images).mean())
        if self.config.spectral_weight:
            weight = self.config.spectral_weight
            loss = loss + weight * spectral_loss(painted[:, 0], images[:, 0], BAND)
        return loss

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        images = batch["image"]
        painted = decode(networks, encode(networks, images))
        usage = codebook(networks).usage
        return {
            "SSIM": float(ssim(painted, images).mean()),
            "SSIM in head": float(ssim(painted, images, mask=head_mask(images)).nanmean()),
            "PSNR": float(psnr(painted, images).mean()),
            "perplexity": float(perplexity(usage)),
            "codes used": float(used_share(usage)),
        }

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Show held-out slices: each as it is, reconstructed, and as a map of its codes."""
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
    """Encoder, codebook and decoder."""

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
        # A network, so that it is saved and averaged over processes like the others.
        self.gauge = Gauge()
        super().__init__(
            {**networks, "gauge": self.gauge}, {"autoencoder": optimizer}, tuple(networks)
        )

    @property
    def is_done(self) -> bool:
        stop_at = self.config.stop_at
        return stop_at is not None and self.gauge.is_settled and self.gauge.mean < stop_at

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        done = step / self.config.vqvae_steps
        if not self._is_published:
            rate = self.config.learning_rate * one_cycle(done)
            self.set_learning_rate("autoencoder", rate)
        images = self._seen(batch, done, draws)
        vectors = self.networks["encoder"](images)
        found = self.networks["codebook"](vectors, draws("codes", device=self.device))
        painted = self.networks["decoder"](found.vectors)
        image = self._image_loss(painted, images)
        self.update("autoencoder", image + found.loss)
        self.gauge(image.detach())
        return {"reconstruction": image.detach(), "codes": found.loss.detach()}

    def _image_loss(self, painted: Tensor, images: Tensor) -> Tensor:
        if self._is_published:
            return (painted - images).square().mean() / VARIANCE
        return super()._image_loss(painted, images)


class TextureTask(AutoencoderTask):
    """The decoder learns from a discriminator to paint sharp; what the codes say stays.

    A code stands for many pixels, and a decoder that only avoids errors paints the mean of all that
    it may stand for: blur (Esser et al., "Taming transformers for high-resolution image synthesis",
    CVPR 2021). With the codes fixed, a prior that draws them need not learn anew.
    """

    def __init__(
        self,
        config: VqVaeConfig,
        networks: dict[str, nn.Module],
        judge: nn.Module,
        data: SliceData,
    ) -> None:
        for name in CODES:
            networks[name].requires_grad_(False)
        optimizers: dict[str, Optimizer] = {
            name: torch.optim.Adam(network.parameters(), config.texture_rate, betas=(0.5, 0.99))
            for name, network in (("decoder", networks["decoder"]), ("judge", judge))
        }
        self.config, self.data = config, data
        super().__init__({**networks, "judge": judge}, optimizers, tuple(networks))

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        done = step / self.config.texture_steps
        rate = self.config.texture_rate * one_cycle(done)
        self.set_learning_rate("decoder", rate)
        images, judge = self._seen(batch, done, draws), self.networks["judge"]
        with torch.no_grad():
            vectors = self.networks["codebook"](self.networks["encoder"](images)).vectors
        painted = self.networks["decoder"](vectors)
        judged = hinge_loss(_judge(judge, images), _judge(judge, painted.detach()))
        self.update("judge", judged)
        judge.requires_grad_(False)
        image, opinion = self._image_loss(painted, images), -_judge(judge, painted).mean()
        heard = min(1.0, done / HEARING)
        self.update("decoder", image + heard * self.config.texture_weight * opinion)
        judge.requires_grad_(True)
        return {
            "reconstruction": image.detach(),
            "texture": opinion.detach(),
            "discriminator": judged.detach(),
        }


def _judge(judge: nn.Module, images: Tensor) -> Tensor:
    return judge(CONTRAST * (images - BRIGHTNESS))  # type: ignore[no-any-return]


def crop(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Cut a square of ``size`` pixels out of each image ``(n, 1, y, x)``, rather in the middle.

    Heads are there; at the borders there is little to learn from.
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
    """Return pictures ``(n, y, x)`` as a stack with the slices' voxel size in mm."""
    array = images.float().cpu().numpy().astype(np.float32)
    z, y, x = spacing
    # Downwards, to the back and to the patient's left: a reader turns a file round otherwise.
    affine = np.diag([-x, -y, -z, 1.0])[:, [2, 1, 0, 3]]
    return Volume(array, "zyx", affine, name=name)
