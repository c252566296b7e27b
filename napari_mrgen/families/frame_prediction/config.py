"""Settings of frame prediction: for training, for generation, and the presets."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from napari_mrgen.config import setting
from napari_mrgen.engine.family import Preset, SamplingConfig, TrainConfig


class FramePredictionConfig(TrainConfig):
    """Train a feedback autoencoder on cines, then a GAN that starts from it."""

    batch_size: int = setting(8, ge=1, le=4096)
    """Windows of a cine seen in one training step."""
    network: Literal["flow", "simple_ugen"] = setting("flow")
    """``flow`` warps the last real frame and adds a residual; ``simple_ugen`` is the network of
    VolumetricVideo, which paints each volume anew."""
    autoencoder_steps: int = setting(3000, ge=0, le=10_000_000, unit="steps")
    """Length of the first stage, which learns the motion; 0 leaves it out."""
    gan_steps: int = setting(180, ge=0, le=10_000_000, unit="steps", title="GAN steps")
    """Length of the second stage, which learns the texture; 0 leaves it out. Without the first
    stage it trains the whole network."""
    patch: int = setting(128, ge=32, le=1024, unit="pixels")
    """Width and height of the training windows, in steps of 32 (16 where no share trains at half
    resolution); at generation any size works."""
    slices: int = setting(2, ge=1, le=64)
    """Neighbouring slices in a training window, for SimpleUGen a multiple of 4; at generation all
    slices are used."""
    width: int = setting(32, ge=4, le=512, level="advanced")
    """Channels at the finest level of the flow network; deeper levels have 2, 3 and 4 times as
    many. SimpleUGen has as many as there are frames of context."""
    context: int = setting(5, ge=2, le=32, unit="frames", level="advanced")
    """Frames that the network is given."""
    frames_per_pass: int = setting(5, ge=1, le=32, unit="frames", level="advanced")
    """Frames that one pass of the network predicts; it then sees them and goes on. SimpleUGen
    predicts 1."""
    passes: int = setting(2, ge=1, le=16, level="advanced")
    """Passes that a roll-out in training grows to."""
    gradient_passes: int = setting(2, ge=1, le=16, level="advanced")
    """Gradients flow back through so many of the last passes."""
    loss: Literal["log", "absolute"] = setting("log", level="advanced")
    """What the autoencoder makes small: ``log``, the logarithm of each frame's squared error, is
    most exact in the end; ``absolute``, the mean absolute error, learns large motion sooner."""
    coarse_share: float = setting(0.65, ge=0, le=1, level="advanced")
    """Share of the first stage that trains at half resolution: there a step takes a quarter of the
    time, and the motion is the same."""
    learning_rate: float = setting(1e-3, gt=0, le=1, level="advanced")
    """Peak learning rate of the autoencoder; it rises at first and then falls to nothing."""
    gan_learning_rate: float = setting(1e-3, gt=0, le=1, level="advanced", title="GAN rate")
    """Learning rate of the generator in the GAN stage."""
    discriminator_learning_rate: float = setting(4e-4, gt=0, le=1, level="advanced")
    """Learning rate of the discriminator."""
    adversarial_weight: float = setting(2e-3, ge=0, le=100, level="advanced")
    """Weight of the discriminator's opinion beside the error of the image."""
    spectral_weight: float = setting(0.05, ge=0, le=100, level="advanced")
    """Weight of the difference of the power spectra in the GAN stage."""
    noise: float = setting(0.03, ge=0, le=1, level="advanced")
    """Noise in the network's input while it trains, as a share of the intensity range."""
    new_motion: float = setting(0.4, ge=0, le=1, level="advanced", title="New motion curves")
    """Share of windows that are played along a new motion curve, frame rate and cycle length."""
    hide_cycle: float = setting(0.2, ge=0, le=1, level="advanced", title="Hidden cycle length")
    """Share of windows where the network is not told the length of the heart's cycle."""
    later_start: float = setting(0.3, ge=0, le=1, level="advanced", title="Later start")
    """Share of windows where the prediction starts later than at the next frame."""
    ema_decay: float = setting(0.995, ge=0, lt=1, level="advanced", title="Weight averaging")
    """Decay of the moving average of the weights; the average is what is saved as the model."""

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        step = 32 if self.coarse_share and self.autoencoder_steps else 16
        if self.patch % step:
            msg = f"the patch must be a multiple of {step}, got {self.patch}"
            raise ValueError(msg)
        if self.network == "simple_ugen" and self.slices % 4:
            msg = f"slices must be a multiple of 4 for simple_ugen, got {self.slices}"
            raise ValueError(msg)
        if self.network == "simple_ugen" and self.frames_per_pass != 1:
            msg = f"frames_per_pass must be 1 for simple_ugen, got {self.frames_per_pass}"
            raise ValueError(msg)
        return self

    @property
    def stages(self) -> tuple[str, ...]:
        lengths = {"autoencoder": self.autoencoder_steps, "gan": self.gan_steps}
        return tuple(name for name, steps in lengths.items() if steps)


class FramePredictionGenerateConfig(SamplingConfig):
    """Predict how a cine goes on."""

    frames: int = setting(50, ge=1, le=100_000)
    """How many frames to predict."""
    start_frame: int | None = setting(None, ge=0, title="Start after frame")
    """The first predicted frame follows this one (counted from 0); empty is the last frame."""
    stage: Literal["best", "autoencoder", "gan"] = setting("best")
    """``autoencoder`` is the most exact, ``gan`` the sharpest; ``best`` is the last one trained."""
    noise: bool = setting(False)
    """Draw one of several possible futures, by the seed, instead of the most likely one."""
    include_context: bool = setting(False)
    """Put the frames that the prediction starts from before it."""
    cycle: int | None = setting(None, ge=0, unit="frames", level="advanced", title="Cycle length")
    """Frames in one heart beat; 0 is unknown, empty finds it from the series."""


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
    network="simple_ugen",
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
    new_motion=0.0,
    hide_cycle=1.0,
    later_start=0.0,
    spectral_weight=0.0,
)

PRESETS = {
    "tiny": Preset(TINY, "Seconds on a CPU: to try that everything works."),
    "quick": Preset(QUICK, "Minutes on a CPU, and already better than repeating the last frame."),
    "base": Preset(BASE, "The best, on a GPU."),
    "published": Preset(
        PUBLISHED,
        """The published system, to compare with.

        VolumetricVideo (T. Linhardt, 2021) made again: SimpleUGen, 5 frames as channels of 8 x 128
        x 128 volumes, noise layers of 0.1, Huber loss, feedback over 5 frames, then the GAN.

        Mended: every predicted frame counts, the first too, and gradients flow through the
        feedback; one PReLU slope a channel, so that any size works (padded); the 99.5th percentile
        is 1 and no sigmoid squeezes the output, so bright blood can be reached; the discriminator
        learns at about the rate of the generator; patients are split before windows are cut;
        series with fewer slices are padded, not skipped. The rate of 1e-4 and the 100 epochs
        became 1e-3 and a length that a CPU can do. The GAN's image error stays beside the
        discriminator's opinion; the original drops it.
        """,
    ),
}
