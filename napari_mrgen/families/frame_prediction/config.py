"""Settings of frame prediction: training, generation, and the presets."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from napari_mrgen.config import setting
from napari_mrgen.engine.family import Preset, SamplingConfig, TrainConfig
from napari_mrgen.volume import Volume


class FramePredictionConfig(TrainConfig):
    """Train a feedback autoencoder on cines, then a GAN that starts from it."""

    batch_size: int = setting(8, ge=1, le=4096)
    """Windows of a cine in one training step."""
    network: Literal["flow", "published"] = setting("flow", old_values={"simple_ugen": "published"})
    """Architecture: ``flow`` warps the last real frame and adds a residual; ``published`` is the
    SimpleUGen of VolumetricVideo, which generates each volume directly."""
    autoencoder_steps: int = setting(3000, ge=0, le=10_000_000, unit="steps")
    """Training steps of the first stage, the autoencoder, which learns the motion; 0 leaves it
    out."""
    gan_steps: int = setting(180, ge=0, le=10_000_000, unit="steps", title="GAN steps")
    """Training steps of the second stage, the GAN, which learns the texture; 0 leaves it out.
    Without the first stage it trains the whole network."""
    patch: int = setting(128, ge=32, le=1024, unit="pixels")
    """Width and height of the training windows, in steps of 32 (16 where no share trains at half
    resolution); at generation any size works."""
    slices: int = setting(2, ge=1, le=64)
    """Neighbouring slices in a training window, a multiple of 4 for the published network; at
    generation all slices are used."""
    width: int = setting(32, ge=4, le=512, level="advanced")
    """Channels at the finest level of the flow network; deeper levels have 2, 3 and 4 times as
    many. The published network has as many as there are context frames."""
    context: int = setting(5, ge=2, le=32, unit="frames", level="advanced")
    """Number of context frames."""
    frames_per_pass: int = setting(5, ge=1, le=32, unit="frames", level="advanced")
    """Frames that one pass of the network predicts, which the next pass gets as input. The
    published network predicts 1."""
    passes: int = setting(2, ge=1, le=16, level="advanced")
    """Number of passes to which the roll-out grows during training."""
    gradient_passes: int = setting(2, ge=1, le=16, level="advanced")
    """Number of passes, the last ones, through which gradients are back-propagated."""
    loss: Literal["log", "absolute"] = setting("log", level="advanced")
    """Loss of the autoencoder: ``log``, the logarithm of each frame's mean squared error, is most
    accurate in the end; ``absolute``, the mean absolute error, learns large motion sooner."""
    coarse_share: float = setting(0.65, ge=0, le=1, level="advanced")
    """Share of the first stage, its beginning, at half resolution, where a step takes a quarter of
    the time."""
    learning_rate: float = setting(1e-3, gt=0, le=1, level="advanced")
    """Peak learning rate of the autoencoder (linear warm-up, cosine decay)."""
    gan_learning_rate: float = setting(1e-3, gt=0, le=1, level="advanced", title="GAN rate")
    """Learning rate of the generator in the GAN stage."""
    discriminator_learning_rate: float = setting(4e-4, gt=0, le=1, level="advanced")
    """Learning rate of the discriminator."""
    adversarial_weight: float = setting(2e-3, ge=0, le=100, level="advanced")
    """Weight of the adversarial loss, relative to the image error."""
    spectral_weight: float = setting(0.05, ge=0, le=100, level="advanced")
    """Weight of the difference between the power spectra in the GAN stage."""
    noise: float = setting(0.03, ge=0, le=1, level="advanced")
    """Greatest standard deviation of the noise added to the input in training, as a share of the
    intensity range."""
    retimed_share: float = setting(0.4, ge=0, le=1, level="advanced", old="new_motion")
    """Share of the windows that are resampled in time: another motion curve, frame rate and cycle
    length (temporal augmentation)."""
    cycle_dropout: float = setting(0.2, ge=0, le=1, level="advanced", old="hide_cycle")
    """Share of the windows without the length of the cardiac cycle as input, so that prediction
    works where it is unknown."""
    delayed_share: float = setting(0.3, ge=0, le=1, level="advanced", old="later_start")
    """Share of the windows whose first predicted frame is later than the next one."""
    ema_decay: float = setting(0.995, ge=0, lt=1, level="advanced", title="Weight averaging")
    """Decay of the moving average of the weights; the average is what is saved as the model."""

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        step = 32 if self.coarse_share and self.autoencoder_steps else 16
        if self.patch % step:
            msg = f"the patch must be a multiple of {step}, got {self.patch}"
            raise ValueError(msg)
        if self.network == "published" and self.slices % 4:
            msg = f"slices must be a multiple of 4 for the published network, got {self.slices}"
            raise ValueError(msg)
        if self.network == "published" and self.frames_per_pass != 1:
            msg = f"frames_per_pass must be 1 for the published network, got {self.frames_per_pass}"
            raise ValueError(msg)
        return self

    @property
    def stages(self) -> tuple[str, ...]:
        lengths = {"autoencoder": self.autoencoder_steps, "gan": self.gan_steps}
        return tuple(name for name, steps in lengths.items() if steps)


class FramePredictionGenerateConfig(SamplingConfig):
    """Predict the next frames of a cine."""

    frames: int = setting(50, ge=1, le=100_000)
    """Number of frames to predict."""
    start_frame: int | None = setting(None, ge=0, title="Start after frame")
    """Frame (from 0) after which the prediction starts; empty is the last frame."""
    stage: Literal["best", "autoencoder", "gan"] = setting("best")
    """Stage whose network predicts: ``autoencoder`` is the most accurate, ``gan`` the sharpest;
    ``best`` is the last one trained."""
    noise: bool = setting(False)
    """Sample one of the possible predictions, by the seed, instead of the most likely one."""
    include_context: bool = setting(False)
    """Include the context frames before the predicted ones."""
    cycle: int | None = setting(None, ge=0, unit="frames", level="advanced", title="Cycle length")
    """Frames in one cardiac cycle; 0 is unknown, empty estimates it from the series."""

    @property
    def frames_each(self) -> int:
        return self.frames

    def expected_in(self, source: Volume, result: Volume) -> Volume | None:
        """Return the real frames after the one that the prediction starts after."""
        start = self.start_frame
        if start is None or "t" not in source.axes or "t" not in result.axes:
            return None
        return source.with_array(source.array[start + 1 : start + 1 + result.size("t")])


TINY = FramePredictionConfig(
    width=8,
    patch=32,
    batch_size=2,
    autoencoder_steps=12,
    gan_steps=8,
    passes=1,
    preview_every=10,
    save_every=10,
)

QUICK = FramePredictionConfig(preview_every=200)

BASE = FramePredictionConfig(
    width=64,
    batch_size=16,
    slices=4,
    autoencoder_steps=60_000,
    gan_steps=20_000,
    passes=4,
    ema_decay=0.9995,
    learning_rate=5e-4,
    save_every=1000,
    preview_every=1000,
)

PUBLISHED = FramePredictionConfig(
    network="published",
    batch_size=8,
    slices=8,
    patch=128,
    frames_per_pass=1,
    passes=5,
    gradient_passes=5,
    autoencoder_steps=1200,
    gan_steps=250,
    learning_rate=1e-3,
    gan_learning_rate=1e-4,
    discriminator_learning_rate=2e-4,
    noise=0.1,
    coarse_share=0.0,
    retimed_share=0.0,
    cycle_dropout=1.0,
    delayed_share=0.0,
    spectral_weight=0.0,
)

PRESETS = {
    "tiny": Preset(TINY, "Seconds on a CPU: to try that everything works."),
    "quick": Preset(QUICK, "Minutes on a CPU, and already better than repeating the last frame."),
    "base": Preset(BASE, "The best, on a GPU."),
    "published": Preset(
        PUBLISHED,
        """The published system, to compare with.

        VolumetricVideo (T. Linhardt, 2021): SimpleUGen, 5 frames as channels of 8 x 128
        x 128 volumes, noise layers of 0.1, Huber loss, feedback over 5 frames, then the GAN.

        Corrected: every predicted frame counts, the first too, and gradients flow through the
        feedback; one PReLU slope a channel, so that any size works (padded); the 99.5th percentile
        is 1 and the output has no sigmoid, so that brighter blood can be reached; the discriminator
        learns at about the rate of the generator; patients are split before windows are cut;
        series with fewer slices are padded, not skipped. The rate of 1e-4 and the 100 epochs
        became 1e-3 and a length that a CPU can do. The GAN keeps the image error beside the
        adversarial loss; the original drops it.
        """,
    ),
}
