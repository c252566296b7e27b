"""Settings of slice generation: training, sampling, and the presets."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from napari_mrgen.config import check_extent, setting
from napari_mrgen.engine.family import Preset, SamplingConfig, TrainConfig


class DcganConfig(TrainConfig):
    """Train a generator of brain slices against a discriminator."""

    batch_size: int = setting(16, ge=1, le=4096)
    """Slices seen in one training step."""
    network: Literal["residual", "published"] = setting(
        "residual", old_values={"dcgan": "published"}
    )
    """Architecture: ``residual`` adds detail from coarse to fine; ``published`` is the network of
    Shri_GAN, which is unconditional."""
    size: Literal[64, 128, 256] = setting(128, unit="pixels")
    """Width and height of the training slices; larger slices are downsampled, smaller ones padded
    with black."""
    plane: Literal["axial", "coronal", "sagittal"] = setting("axial")
    """Plane of the slices."""
    first: float = setting(0.2, ge=0, le=1, title="First slice")
    """Position of the first slice, as a share of the brain's extent across the plane; 0 is the
    top."""
    last: float = setting(0.65, ge=0, le=1, title="Last slice")
    """Position of the last slice, as a share of the brain's extent across the plane."""
    steps: int = setting(3400, ge=1, le=10_000_000, unit="steps")
    """Number of training steps."""
    condition: Literal["none", "level", "level, age, sex"] = setting("level")
    """Conditions of generator and discriminator, which samples can then be given."""
    width: int = setting(32, ge=4, le=512, level="advanced")
    """Channels at the finest level; each coarser level has twice as many, up to the widest."""
    widest: int = setting(2, ge=1, le=64, level="advanced")
    """Channels at the widest level, as a multiple of those at the finest."""
    latent: int = setting(32, ge=2, le=4096, level="advanced", title="Latent size")
    """Dimension of the latent vector."""
    modulation_width: int = setting(192, ge=8, le=4096, level="advanced", old="steering")
    """Length of the vector, mapped from latent and conditions, that modulates the features of every
    level (FiLM)."""
    coarse_share: float = setting(0.75, ge=0, le=1, level="advanced")
    """Share of the training at reduced resolution (progressive growing): its first half at a
    quarter, its second at half of the resolution."""
    reconstruction_share: float = setting(0.22, ge=0, le=1, level="advanced", old="redraw_share")
    """Share of the training, its beginning, in which the generator learns from reconstructing real
    slices alone, as a variational autoencoder does; the adversarial loss then adds the texture."""
    reconstruction_weight: float = setting(
        30.0, ge=0, le=1e4, level="advanced", old="redraw_weight"
    )
    """Weight of the reconstruction loss of real slices (VAE-GAN), which counters mode collapse; 0
    trains without an encoder."""
    latent_regression_weight: float = setting(
        1.0, ge=0, le=1e4, level="advanced", old="finding_weight"
    )
    """Weight of the latent regression loss (BicycleGAN): the encoder recovers the latent vector
    from a sample, so that the generator cannot ignore it."""
    spectral_weight: float = setting(0.3, ge=0, le=100, level="advanced")
    """Weight of the difference between the power spectra of generated and real slices."""
    learning_rate: float = setting(1e-3, gt=0, le=1, level="advanced")
    """Learning rate of generator and encoder during the reconstruction share."""
    gan_learning_rate: float = setting(3e-4, gt=0, le=1, level="advanced", title="GAN rate")
    """Learning rate of the generator after the reconstruction share."""
    discriminator_learning_rate: float = setting(6e-4, gt=0, le=1, level="advanced")
    """Learning rate of the discriminator."""
    momentum: float = setting(0.5, ge=0, lt=1, level="advanced")
    """First-moment decay (beta 1) of both Adam optimizers."""
    constant_share: float = setting(0.85, ge=0, le=1, level="advanced", title="Constant rate")
    """Share of the training after which the learning rates decay linearly."""
    condition_dropout: float = setting(0.2, ge=0, le=1, level="advanced", old="hidden_share")
    """Share of the slices whose age and sex are dropped in training, so that sampling works without
    them."""
    penalty: float = setting(0.02, ge=0, le=1000, level="advanced", title="Gradient penalty")
    """Weight of the R1 gradient penalty of the discriminator at real slices."""
    augmentation: float = setting(0.5, ge=0, le=2, level="advanced")
    """Strength of the differentiable augmentation (translation, intensity, cutout) of all images
    that the discriminator gets."""
    ema_decay: float = setting(0.997, ge=0, lt=1, level="advanced", title="Weight averaging")
    """Decay of the moving average of the weights; the average is what is saved as the model."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_extent(self.first, self.last)
        if self.network == "published" and self.batch_size < 2:
            msg = "The published network normalises over the batch: batch_size must be 2 or more"
            raise ValueError(f"{msg}, got {self.batch_size}")
        return self

    @property
    def stages(self) -> tuple[str, ...]:
        return ("gan",)

    @property
    def has_encoder(self) -> bool:
        """Whether an encoder is trained, from whose latents real slices are reconstructed."""
        return self.network == "residual" and self.reconstruction_weight > 0

    @property
    def warm_up_share(self) -> float:
        """Share of the training before the adversarial loss sets in."""
        return self.reconstruction_share if self.has_encoder else 0.0


class DcganGenerateConfig(SamplingConfig):
    """Sample brain slices."""

    samples: int = setting(16, ge=1, le=100_000)
    """Number of slices to sample."""
    level: float | None = setting(None, ge=0, le=1)
    """Level in the brain: 0 is the first and 1 the last slice position of the training; empty
    spreads the samples over all levels."""
    age: float | None = setting(None, ge=0, le=120, unit="years")
    """Age of the subject, for a model that was trained with ages; empty leaves it open."""
    sex: Literal["F", "M"] | None = setting(None)
    """Sex of the subject, for a model that was trained with it; empty leaves it open."""
    truncation: float = setting(1.0, gt=0, le=1)
    """Scale of the latent vectors (truncation): below 1 samples are more typical and less
    diverse."""
    walk: int = setting(0, ge=0, le=10_000, unit="frames")
    """Frames of a latent interpolation through the samples, as a movie; 0 gives the samples."""


TINY = DcganConfig(
    size=64,
    width=4,
    latent=8,
    modulation_width=16,
    batch_size=4,
    steps=20,
    condition="level, age, sex",
    preview_every=10,
    save_every=10,
)

QUICK = DcganConfig(preview_every=200, save_every=400)

BASE = DcganConfig(
    size=256,
    condition="level, age, sex",
    width=64,
    widest=4,
    latent=128,
    modulation_width=256,
    batch_size=32,
    steps=60_000,
    coarse_share=0.4,
    reconstruction_share=0.1,
    learning_rate=5e-4,
    gan_learning_rate=2e-4,
    discriminator_learning_rate=2e-4,
    augmentation=1.0,
    ema_decay=0.9995,
    preview_every=1000,
    save_every=1000,
)

PUBLISHED = DcganConfig(
    network="published",
    condition="none",
    latent=100,
    batch_size=64,
    steps=350,
    coarse_share=0.0,
    reconstruction_share=0.0,
    reconstruction_weight=0.0,
    spectral_weight=0.0,
    gan_learning_rate=1e-4,
    discriminator_learning_rate=1e-4,
    momentum=0.9,
    constant_share=1.0,
    penalty=0.0,
    augmentation=0.0,
    ema_decay=0.0,
)

PRESETS = {
    "tiny": Preset(TINY, "Seconds on a CPU: to try that everything works."),
    "quick": Preset(
        QUICK, "Minutes on a CPU: coarse slices first, and only the last steps at full resolution."
    ),
    "base": Preset(BASE, "The best, on a GPU."),
    "published": Preset(
        PUBLISHED,
        """The published system, to compare with.

        The DCGAN on OASIS slices (A. Agrawal, Shri_GAN, 2020): 100 normal numbers, a
        dense layer of 16 x 16 x 256, transposed convolutions of 128, 64 and 1 channels with
        strides 1, 2 and 4, batch normalisation, tanh; cross-entropy, dropout of 0.3 in the
        discriminator, Adam at 1e-4.

        Corrected: one optimizer for the whole training, not a new one at each step, which lost its
        momentum; as many generated as real slices in a batch, not half as many; SSIM with the data
        range that the images have, for many samples and on held-out subjects too; subjects are
        split before slices are cut; any folder, and results that are always written. A batch of
        256 became one of 64, and 100 epochs a length that a CPU can do.
        """,
    ),
}
