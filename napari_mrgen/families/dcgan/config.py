"""Settings of slice generation: for training, for drawing, and the presets."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from napari_mrgen.config import check_extent, setting
from napari_mrgen.engine.family import Preset, SamplingConfig, TrainConfig


class DcganConfig(TrainConfig):
    """Train a generator of brain slices against a discriminator."""

    batch_size: int = setting(16, ge=1, le=4096)
    """Slices seen in one training step."""
    network: Literal["residual", "dcgan"] = setting("residual")
    """``residual`` adds detail from coarse to fine; ``dcgan`` is the published network, which can
    be told nothing."""
    size: Literal[64, 128, 256] = setting(128, unit="pixels")
    """Width and height of the slices; larger ones are shrunk, smaller ones get a black border."""
    plane: Literal["axial", "coronal", "sagittal"] = setting("axial")
    """Plane in which volumes are cut."""
    first: float = setting(0.2, ge=0, le=1, title="First slice")
    """Where the slices begin, as a share of the brain's extent across the plane; 0 is the top."""
    last: float = setting(0.65, ge=0, le=1, title="Last slice")
    """Where the slices end, as a share of the brain's extent across the plane."""
    steps: int = setting(3400, ge=1, le=10_000_000, unit="steps")
    """Length of the training."""
    condition: Literal["none", "level", "level, age, sex"] = setting("level")
    """What the networks are told of a slice, and can then be asked for."""
    width: int = setting(32, ge=4, le=512, level="advanced")
    """Channels at the finest level; each coarser one has twice as many, up to the widest."""
    widest: int = setting(2, ge=1, le=64, level="advanced")
    """How many times as many channels as the finest level the widest has."""
    latent: int = setting(32, ge=2, le=4096, level="advanced", title="Noise")
    """Random numbers that a slice is drawn from."""
    steering: int = setting(192, ge=8, le=4096, level="advanced")
    """Length of the vector, made of noise and condition, that steers every level."""
    coarse_share: float = setting(0.75, ge=0, le=1, level="advanced")
    """Share of the training at lower resolution, where a step is cheap: the first half of it at a
    quarter, the second at half of the resolution."""
    redraw_share: float = setting(0.22, ge=0, le=1, level="advanced")
    """Share of the training in which the generator only learns to redraw real slices, from what an
    encoder finds in them: that is quick, and leaves the discriminator the texture to teach."""
    redraw_weight: float = setting(30.0, ge=0, le=1e4, level="advanced")
    """Weight of redrawing real slices beside the discriminator's opinion; it keeps all kinds of
    slices in reach. 0 leaves the encoder out."""
    finding_weight: float = setting(1.0, ge=0, le=1e4, level="advanced")
    """Weight of how little of the noise the encoder finds again in slices drawn from it; without it
    the generator draws what it has found to pass, whatever the noise."""
    spectral_weight: float = setting(0.3, ge=0, le=100, level="advanced")
    """Weight of the difference of the power spectra of drawn and real slices."""
    learning_rate: float = setting(1e-3, gt=0, le=1, level="advanced")
    """Learning rate of generator and encoder while they only redraw."""
    gan_learning_rate: float = setting(3e-4, gt=0, le=1, level="advanced", title="GAN rate")
    """Learning rate of the generator from then on."""
    discriminator_learning_rate: float = setting(6e-4, gt=0, le=1, level="advanced")
    """Learning rate of the discriminator."""
    momentum: float = setting(0.5, ge=0, lt=1, level="advanced")
    """Of both optimizers (Adam's first beta)."""
    constant_share: float = setting(0.85, ge=0, le=1, level="advanced", title="Constant rate")
    """Share of the training after which the learning rates fall towards nothing."""
    hidden_share: float = setting(0.2, ge=0, le=1, level="advanced", title="Hidden age and sex")
    """Share of slices where the networks are not told age and sex, so that they need not be
    known."""
    penalty: float = setting(0.02, ge=0, le=1000, level="advanced", title="Gradient penalty")
    """Weight of the discriminator's gradient at real slices (R1), which keeps it smooth."""
    augmentation: float = setting(0.5, ge=0, le=2, level="advanced")
    """Strength of what is varied alike in real and drawn slices before the discriminator sees them:
    place, intensity, a square cut out."""
    ema_decay: float = setting(0.997, ge=0, lt=1, level="advanced", title="Weight averaging")
    """Decay of the moving average of the weights; the average is what is saved as the model."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_extent(self.first, self.last)
        if self.network == "dcgan" and self.batch_size < 2:
            msg = "The network dcgan compares the slices of a batch: batch_size must be 2 or more"
            raise ValueError(f"{msg}, got {self.batch_size}")
        return self

    @property
    def stages(self) -> tuple[str, ...]:
        return ("gan",)

    @property
    def has_encoder(self) -> bool:
        """Whether the generator learns by redrawing real slices, too."""
        return self.network == "residual" and self.redraw_weight > 0

    @property
    def unheard_share(self) -> float:
        """Share of the training in which the generator does not hear the discriminator."""
        return self.redraw_share if self.has_encoder else 0.0


class DcganGenerateConfig(SamplingConfig):
    """Draw brain slices."""

    samples: int = setting(16, ge=1, le=100_000)
    """How many slices to draw."""
    level: float | None = setting(None, ge=0, le=1)
    """Where in the brain, 0 is the first and 1 the last slice that was trained on; empty spreads
    the slices over all levels."""
    age: float | None = setting(None, ge=0, le=120, unit="years")
    """Of the subject, for a model that was trained with ages; empty leaves it open."""
    sex: Literal["F", "M"] | None = setting(None)
    """Of the subject, for a model that was trained with it; empty leaves it open."""
    truncation: float = setting(1.0, gt=0, le=1)
    """How far from the most ordinary slice: less than 1 gives cleaner slices, and fewer kinds."""
    walk: int = setting(0, ge=0, le=10_000, unit="frames")
    """Frames of a movie that walks from sample to sample, two at least; 0 gives the samples."""


TINY = DcganConfig(
    size=64,
    width=4,
    latent=8,
    steering=16,
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
    steering=256,
    batch_size=32,
    steps=60_000,
    coarse_share=0.4,
    redraw_share=0.1,
    learning_rate=5e-4,
    gan_learning_rate=2e-4,
    discriminator_learning_rate=2e-4,
    augmentation=1.0,
    ema_decay=0.9995,
    preview_every=1000,
    save_every=1000,
)

PUBLISHED = DcganConfig(
    network="dcgan",
    condition="none",
    latent=100,
    batch_size=64,
    steps=350,
    coarse_share=0.0,
    redraw_share=0.0,
    redraw_weight=0.0,
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

        The DCGAN on OASIS slices (A. Agrawal, Shri_GAN, 2020) made again: 100 normal numbers, a
        dense layer of 16 x 16 x 256, transposed convolutions of 128, 64 and 1 channels with
        strides 1, 2 and 4, batch normalisation, tanh; cross-entropy, dropout of 0.3 in the
        discriminator, Adam at 1e-4.

        Mended: one optimizer for the whole training, not a new one at each step, which forgot its
        momentum; as many drawn as real slices in a batch, not half as many; similarity on the
        range that the images have, for many samples and on held-out subjects too; subjects are
        split before slices are cut; any folder, and results that are always written. A batch of
        256 became one of 64, and 100 epochs a length that a CPU can do.
        """,
    ),
}
