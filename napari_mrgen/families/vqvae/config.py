"""Settings of the VQ-VAE: for training, for generation, and the presets."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from napari_mrgen.config import check_extent, setting
from napari_mrgen.engine.family import Preset, SamplingConfig, TrainConfig
from napari_mrgen.errors import MrgenError

POSITIONS = 16
"""Rows and columns that the transformer sees at most; of finer maps it sees blocks of codes."""


class VqVaeConfig(TrainConfig):
    """Train a VQ-VAE on brain slices, its texture, then a prior that draws maps of its codes."""

    batch_size: int = setting(8, ge=1, le=4096)
    """Slices seen in one training step."""
    network: Literal["residual", "published"] = setting("residual")
    """``residual`` is this project's; ``published`` is the network of PatternFlow 46481326, with a
    codebook that learns by gradients."""
    prior: Literal["transformer", "dcgan"] = setting("transformer")
    """What draws new maps of codes: a masked transformer, or the generator of a DCGAN, which cannot
    complete slices."""
    size: int = setting(128, ge=32, le=1024, unit="pixels")
    """Width and height of the slices; larger ones are shrunk, smaller ones get a black border."""
    factor: Literal[4, 8] = setting(8, unit="pixels")
    """Width and height of what one code stands for: 4 reconstructs better, of 8 there are a quarter
    as many codes, which are learned to be drawn in minutes."""
    codes: int = setting(512, ge=2, le=65536)
    """Codes in the codebook."""
    plane: Literal["axial", "coronal", "sagittal"] = setting("axial")
    """Plane in which volumes are cut."""
    first: float = setting(0.2, ge=0, le=1, title="First slice")
    """Where the slices begin, as a share of the brain's extent across the plane; 0 is the top."""
    last: float = setting(0.65, ge=0, le=1, title="Last slice")
    """Where the slices end, as a share of the brain's extent across the plane."""
    vqvae_steps: int = setting(2000, ge=1, le=10_000_000, unit="steps", title="VQ-VAE steps")
    """Length of the first stage, which learns the codes."""
    texture_steps: int = setting(600, ge=0, le=10_000_000, unit="steps")
    """Length of the second stage, in which the decoder learns to paint sharp; 0 leaves it out."""
    prior_steps: int = setting(3000, ge=0, le=10_000_000, unit="steps")
    """Length of the last stage, which learns to draw maps of codes; 0 leaves it out."""
    stop_at: float | None = setting(None, gt=0, le=10, title="Stop VQ-VAE at loss")
    """The first stage ends early when its reconstruction loss, averaged over about 100 steps, falls
    to this value; empty lets it run to its end."""
    width: int = setting(64, ge=8, le=1024, level="advanced")
    """Channels at half resolution; coarser levels have twice as many, full resolution a quarter."""
    blocks: int = setting(2, ge=1, le=16, level="advanced")
    """Residual blocks at each resolution of the decoder; the encoder has half as many."""
    code_size: int = setting(16, ge=2, le=1024, level="advanced")
    """Length of a code; few numbers keep all codes in use."""
    commitment: float = setting(0.25, ge=0, le=10, level="advanced")
    """Weight of the loss that keeps what the encoder says near the codes."""
    patch: int = setting(64, ge=32, le=1024, unit="pixels", level="advanced")
    """Width and height of the part of a slice that the first stage sees in a step; whole slices
    come at its end. The smaller the part, the cheaper the step."""
    learning_rate: float = setting(1e-3, gt=0, le=1, level="advanced")
    """Peak learning rate of the first stage; it rises at first and then falls to nothing."""
    ssim_weight: float = setting(1.0, ge=0, le=100, level="advanced", title="SSIM weight")
    """Weight of one minus the structural similarity, beside the mean absolute error times 4."""
    spectral_weight: float = setting(0.0, ge=0, le=100, level="advanced")
    """Weight of the difference of the power spectra."""
    texture_weight: float = setting(0.1, ge=0, le=100, level="advanced")
    """Weight of the discriminator's opinion beside the reconstruction, in the second stage."""
    texture_rate: float = setting(4e-4, gt=0, le=1, level="advanced")
    """Learning rate of decoder and discriminator in the second stage."""
    prior_width: int = setting(192, ge=16, le=4096, level="advanced")
    """Length of the transformer's vectors, a multiple of 16; half as many channels at the finest
    level of the prior's discriminator and generator."""
    prior_layers: int = setting(4, ge=1, le=64, level="advanced")
    """Blocks of the transformer."""
    prior_learning_rate: float = setting(1e-3, gt=0, le=1, level="advanced")
    """Learning rate of the prior; the transformer's rises at first and then falls to nothing."""
    dropout: float = setting(0.0, ge=0, lt=1, level="advanced")
    """Share of what the transformer's layers found that is dropped in training; it keeps a long
    training from learning few slices by heart."""
    ema_decay: float = setting(0.99, ge=0, lt=1, level="advanced", title="Weight averaging")
    """Decay of the moving average of the weights; the average is what is saved as the model."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_extent(self.first, self.last)
        step = self.factor * self.merge
        if self.size % step:
            msg = f"With a factor of {self.factor} the size must be a multiple of {step}"
            raise ValueError(f"{msg}, got {self.size}")
        if self.network == "published" and self.factor != 4:
            msg = f"The published network has a factor of 4, got {self.factor}"
            raise ValueError(msg)
        if self.patch % self.factor:
            msg = f"The patch must be a multiple of the factor {self.factor}, got {self.patch}"
            raise ValueError(msg)
        if self.prior_width % 16:
            msg = f"prior_width must be a multiple of 16, got {self.prior_width}"
            raise ValueError(msg)
        return self

    @property
    def stages(self) -> tuple[str, ...]:
        later = {"texture": self.texture_steps, "prior": self.prior_steps}
        return ("vqvae", *(name for name, steps in later.items() if steps))

    def check_stage(self, name: str, *, has_start: bool) -> None:
        if name in self.stages[1:] and not has_start:
            msg = (
                f"Stage {name!r} works on codes that stage 'vqvae' has learned: name the run or "
                "model that it shall start from."
            )
            raise MrgenError(msg)
        super().check_stage(name, has_start=has_start)

    @property
    def side(self) -> int:
        """Codes in a row, and rows, of a slice's map."""
        return self.size // self.factor

    @property
    def merge(self) -> int:
        """Codes in a row, and rows, of what the transformer sees as one position."""
        merge = 1
        while self.size / self.factor / merge > POSITIONS:
            merge *= 2
        return merge


class VqVaeGenerateConfig(SamplingConfig):
    """Draw new slices, or reconstruct or complete those of an image."""

    task: Literal["auto", "sample", "reconstruct", "complete"] = setting("auto")
    """``auto`` completes where a mask is given, reconstructs where an image alone is given, and
    draws new slices where nothing is."""
    level: float | None = setting(None, ge=0, le=1)
    """Level in the brain of drawn slices, 0 the top to 1 the base; empty spreads them evenly."""
    age: float | None = setting(None, ge=0, le=120, unit="years")
    """Age of the person that slices are drawn of; empty is any. Only of use where the model was
    trained on scans whose age is known."""
    sex: Literal["any", "F", "M"] = setting("any")
    """Sex of the person that slices are drawn of; only of use where it was known in training."""
    temperature: float = setting(1.0, gt=0, le=5, level="advanced")
    """Below 1, drawn codes are likelier and more alike; above, more varied."""
    decoding_steps: int = setting(12, ge=1, le=256, level="advanced")
    """Passes of the transformer in which a map is drawn; more passes make codes fit better."""


TINY = VqVaeConfig(
    size=32,
    factor=4,
    codes=16,
    batch_size=4,
    width=8,
    blocks=1,
    code_size=4,
    patch=32,
    vqvae_steps=12,
    texture_steps=6,
    prior_steps=8,
    prior_width=16,
    prior_layers=1,
    dropout=0.1,
    save_every=10,
    preview_every=10,
)

QUICK = VqVaeConfig(preview_every=350)

BASE = VqVaeConfig(
    factor=4,
    codes=1024,
    width=128,
    blocks=4,
    batch_size=64,
    vqvae_steps=40_000,
    texture_steps=10_000,
    prior_steps=60_000,
    prior_width=512,
    prior_layers=16,
    dropout=0.1,
    learning_rate=5e-4,
    prior_learning_rate=3e-4,
    ema_decay=0.9995,
    save_every=1000,
    preview_every=1000,
)

PUBLISHED = VqVaeConfig(
    network="published",
    prior="dcgan",
    size=256,
    factor=4,
    codes=512,
    code_size=64,
    width=64,
    commitment=0.3,
    patch=256,
    batch_size=16,
    vqvae_steps=400,
    texture_steps=0,
    prior_steps=250,
    learning_rate=1e-3,
    prior_width=256,
    prior_learning_rate=2e-4,
    ssim_weight=0.0,
)

PRESETS = {
    "tiny": Preset(TINY, "Seconds on a CPU: to try that everything works."),
    "quick": Preset(QUICK, "Minutes on a CPU, and drawn slices look like brains."),
    "base": Preset(BASE, "The best, on a GPU."),
    "published": Preset(
        PUBLISHED,
        """The published system, to compare with.

        PatternFlow 46481326 (2022) made again: 512 codes of 64 numbers in maps of 64 x 64 for
        slices of 256 x 256, its encoder and decoder, codes that learn by gradients (no moving
        averages, no restart, as published), mean squared error over the variance of the data, Adam
        1e-3 for the length of its 2 epochs; then its DCGAN of 100 random numbers, Adam 2e-4 with
        betas of 0.5 and 0.999.

        Mended: the prior draws codes' vectors, each replaced by the nearest code, not index
        numbers as grey values in 0..1 against real ones in 0..511; its maps are those codes, not
        bins between two levels of one encoded slice; it learns at its own rate, and its norms
        start at a scale of 1; subjects are split before training. The batch of 48 (prior: 256)
        became 16, and the prior's 20 epochs a length that a CPU can do; the prior is told the
        level of a slice, as every prior here.
        """,
    ),
}
