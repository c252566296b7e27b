"""Settings of the VQ-VAE: training, generation, and the presets."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from napari_mrgen.config import check_extent, setting
from napari_mrgen.engine.family import Preset, SamplingConfig, TrainConfig
from napari_mrgen.errors import MrgenError

POSITIONS = 16
"""Most rows and columns of positions of the transformer; of finer maps a position is a block of
codes."""


class VqVaeConfig(TrainConfig):
    """Train a VQ-VAE on brain slices, refine its decoder, then train a prior over its codes."""

    batch_size: int = setting(8, ge=1, le=4096)
    """Slices seen in one training step."""
    network: Literal["residual", "published"] = setting("residual")
    """Architecture: ``residual`` is that of this project; ``published`` is the network of
    PatternFlow 46481326, whose codebook is trained by gradients."""
    prior: Literal["transformer", "dcgan"] = setting("transformer")
    """Prior over maps of codes: a masked transformer (MaskGIT), or a DCGAN, which cannot complete
    slices."""
    size: int = setting(128, ge=32, le=1024, unit="pixels")
    """Width and height of the training slices; larger slices are downsampled, smaller ones padded
    with black."""
    factor: Literal[4, 8] = setting(8, unit="pixels")
    """Downsampling factor of the encoder: 4 reconstructs better; with 8 there are a quarter as many
    codes, over which a prior is trained in minutes."""
    codes: int = setting(512, ge=2, le=65536)
    """Number of codes in the codebook."""
    plane: Literal["axial", "coronal", "sagittal"] = setting("axial")
    """Plane of the slices."""
    first: float = setting(0.2, ge=0, le=1, title="First slice")
    """Position of the first slice, as a share of the brain's extent across the plane; 0 is the
    top."""
    last: float = setting(0.65, ge=0, le=1, title="Last slice")
    """Position of the last slice, as a share of the brain's extent across the plane."""
    vqvae_steps: int = setting(2000, ge=1, le=10_000_000, unit="steps", title="VQ-VAE steps")
    """Training steps of the first stage: encoder, codebook and decoder."""
    texture_steps: int = setting(600, ge=0, le=10_000_000, unit="steps")
    """Training steps of the second stage, adversarial refinement of the decoder; 0 leaves it
    out."""
    prior_steps: int = setting(3000, ge=0, le=10_000_000, unit="steps")
    """Training steps of the last stage, the prior over maps of codes; 0 leaves it out."""
    stop_at: float | None = setting(None, gt=0, le=10, title="Stop VQ-VAE at loss")
    """The first stage ends early when its reconstruction loss, averaged over about 100 steps, falls
    to this value; empty lets it run to its end."""
    width: int = setting(64, ge=8, le=1024, level="advanced")
    """Channels at half resolution; coarser levels have twice as many, full resolution a quarter."""
    blocks: int = setting(2, ge=1, le=16, level="advanced")
    """Residual blocks at each resolution of the decoder; the encoder has half as many."""
    code_size: int = setting(16, ge=2, le=1024, level="advanced")
    """Dimension of a code; a small one keeps all codes in use."""
    commitment: float = setting(0.25, ge=0, le=10, level="advanced")
    """Weight of the commitment loss, which keeps the encoder's vectors near the codes."""
    patch: int = setting(64, ge=32, le=1024, unit="pixels", level="advanced")
    """Width and height of the random crops of the first stage; it ends with whole slices. Smaller
    crops make a step cheaper."""
    learning_rate: float = setting(1e-3, gt=0, le=1, level="advanced")
    """Peak learning rate of the first stage (linear warm-up, cosine decay)."""
    ssim_weight: float = setting(1.0, ge=0, le=100, level="advanced", title="SSIM weight")
    """Weight of 1 - SSIM in the reconstruction loss; the mean absolute error has a weight of 4."""
    spectral_weight: float = setting(0.0, ge=0, le=100, level="advanced")
    """Weight of the difference between the power spectra."""
    texture_weight: float = setting(0.1, ge=0, le=100, level="advanced")
    """Weight of the adversarial loss in the second stage."""
    texture_rate: float = setting(4e-4, gt=0, le=1, level="advanced")
    """Learning rate of decoder and discriminator in the second stage."""
    prior_width: int = setting(192, ge=16, le=4096, level="advanced")
    """Embedding dimension of the transformer, a multiple of 16; a DCGAN prior has half as many
    channels at its finest level."""
    prior_layers: int = setting(4, ge=1, le=64, level="advanced")
    """Number of transformer blocks."""
    prior_learning_rate: float = setting(1e-3, gt=0, le=1, level="advanced")
    """Peak learning rate of the prior (linear warm-up and cosine decay for the transformer)."""
    dropout: float = setting(0.0, ge=0, lt=1, level="advanced")
    """Dropout probability of the transformer; it counters memorisation of few slices."""
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
                f"Stage {name!r} needs the codes of stage 'vqvae': name the run or "
                "model to start from."
            )
            raise MrgenError(msg)
        super().check_stage(name, has_start=has_start)

    @property
    def side(self) -> int:
        """Rows, and columns, of a slice's map of codes."""
        return self.size // self.factor

    @property
    def merge(self) -> int:
        """Rows, and columns, of codes that form one position of the transformer."""
        merge = 1
        while self.size / self.factor / merge > POSITIONS:
            merge *= 2
        return merge


class VqVaeGenerateConfig(SamplingConfig):
    """Sample new slices, or reconstruct or complete those of an image."""

    task: Literal["auto", "sample", "reconstruct", "complete"] = setting("auto")
    """``auto`` completes if there is a mask, reconstructs if there is an image alone, and otherwise
    samples new slices."""
    level: float | None = setting(None, ge=0, le=1)
    """Level in the brain of the samples, 0 the top to 1 the base; empty spreads them evenly."""
    age: float | None = setting(None, ge=0, le=120, unit="years")
    """Age of the subject; empty leaves it open. It has an effect only if the model was trained on
    subjects of known age."""
    sex: Literal["any", "F", "M"] = setting("any")
    """Sex of the subject; it has an effect only if it was known in training."""
    temperature: float = setting(1.0, gt=0, le=5, level="advanced")
    """Sampling temperature: below 1 samples are more typical and less diverse."""
    decoding_steps: int = setting(12, ge=1, le=256, level="advanced")
    """Decoding iterations of the transformer; more iterations make the codes more consistent."""


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
    "quick": Preset(QUICK, "Minutes on a CPU; samples look like brain slices."),
    "base": Preset(BASE, "The best, on a GPU."),
    "published": Preset(
        PUBLISHED,
        """The published system, to compare with.

        PatternFlow 46481326 (2022): 512 codes of 64 numbers in maps of 64 x 64 for
        slices of 256 x 256, its encoder and decoder, codes that learn by gradients (no moving
        averages, no restart, as published), mean squared error over the variance of the data, Adam
        1e-3 for the length of its 2 epochs; then its DCGAN of 100 random numbers, Adam 2e-4 with
        betas of 0.5 and 0.999.

        Corrected: the prior generates codes' vectors, each replaced by the nearest code, not index
        numbers as grey values in 0..1 against real ones in 0..511; its maps are those codes, not
        bins between two levels of one encoded slice; it learns at its own rate, and its norms
        start at a scale of 1; subjects are split before training. The batch of 48 (prior: 256)
        became 16, and the prior's 20 epochs a length that a CPU can do; the prior is
        conditioned on the level of a slice, as every prior here.
        """,
    ),
}
