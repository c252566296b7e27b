"""Settings of reconstruction: for training, for generation, and the presets."""

from __future__ import annotations

from typing import Literal

from napari_mrgen.config import setting
from napari_mrgen.engine.family import GenerateConfig, Preset, TrainConfig

Loss = Literal["mse", "mae", "ssim", "psnr", "bce"]
Regularizer = Literal[
    "none", "l1", "l2", "l1_l2", "batch_norm", "instance_norm", "dropout", "dropblock"
]


class ReconstructionConfig(TrainConfig):
    """Train a network that removes the artefacts of a radial real-time scan."""

    batch_size: int = setting(1, ge=1, le=4096)
    """Series seen in one training step."""
    network: Literal["unrolled", "unet3d", "unet3d_old", "unet2d1d", "unet2d2d"] = setting(
        "unrolled"
    )
    """``unrolled`` compares its image with the measured data between small networks; the others
    are the published U-Nets, which see images only."""
    inputs: Literal["shared", "zero-filled"] = setting("shared")
    """``zero-filled`` gives the network each frame from its own spokes alone; ``shared`` puts
    beside it what neighbouring frames measured: averages of 5, of 9 and of all frames."""
    steps: int = setting(1500, ge=1, le=10_000_000, unit="steps")
    """Length of the training."""
    spokes: int = setting(13, ge=1, le=1024)
    """Spokes measured in each frame."""
    frames: int = setting(16, ge=9, le=1024)
    """Frames of a training series; at generation any number of at least 9 works."""
    patch: int = setting(128, ge=16, le=1024, unit="pixels")
    """Width and height of the training series; at generation any size works."""
    loss: Loss = setting("ssim")
    """What training makes small; ``ssim`` and ``psnr`` are made large. ``bce`` takes intensities
    for probabilities."""
    second_loss: Literal["none", "mse", "mae", "ssim", "psnr", "bce"] = setting("mae")
    """Is added to the loss."""
    second_weight: float = setting(1.0, ge=0, le=1000, level="advanced")
    """Weight of the second loss."""
    optimizer: Literal["adam", "adamw", "rmsprop"] = setting("adamw", level="advanced")
    """How the weights follow the gradients."""
    learning_rate: float = setting(1e-3, gt=0, le=1, level="advanced")
    """Peak learning rate."""
    weight_decay: float = setting(0.0, ge=0, le=1, level="advanced")
    """What ``adamw`` takes off the weights at each step, as a share of the learning rate."""
    schedule: Literal["one_cycle", "constant"] = setting("one_cycle", level="advanced")
    """``one_cycle`` rises at first and then falls to nothing."""
    width: int = setting(32, ge=1, le=512, level="advanced")
    """Channels at the finest level; deeper levels have more."""
    depth: int = setting(5, ge=2, le=6, level="advanced")
    """Levels of the published U-Nets, each half as large as the one above it."""
    consistency_steps: int = setting(2, ge=1, le=8, level="advanced")
    """Small networks of ``unrolled``, each after a step towards the measured data."""
    regularizer: Regularizer = setting("none", level="advanced")
    """What keeps the network from learning by heart: a penalty on its weights, or a layer after
    each convolution of the published U-Nets."""
    penalty: float = setting(1e-5, ge=0, le=1, level="advanced")
    """Weight of the penalties ``l1``, ``l2`` and ``l1_l2``."""
    drop_rate: float = setting(0.1, ge=0, lt=1, level="advanced")
    """Share of values that ``dropout`` and ``dropblock`` set to 0."""
    block_size: int = setting(5, ge=1, le=64, unit="pixels", level="advanced")
    """Side of the blocks that ``dropblock`` sets to 0."""
    spokes_spread: int = setting(2, ge=0, le=512, level="advanced", title="Spread of spokes")
    """In training the number of spokes is drawn, up to so many more or fewer."""
    coils: int = setting(4, ge=1, le=64, level="advanced")
    """Receiver coils of the simulated scan."""
    noise: float = setting(0.01, ge=0, le=1, level="advanced")
    """Noise of the simulated scan: that of an image sampled fully on a grid, as a share of the
    intensity range. In training it is drawn, up to twice as much."""
    angle: Literal["tiny golden", "golden"] = setting("tiny golden", level="advanced")
    """By which each spoke is turned from the last: 23.6 or 111.2 degrees."""
    new_motion: float = setting(0.5, ge=0, le=1, level="advanced", title="New motion curves")
    """Share of training series that are played along a new motion curve and cycle length."""
    vary: bool = setting(True, level="advanced", title="Turn and tone")
    """Also turn, mirror, zoom and tone the training series."""
    monitor: Literal["SSIM", "PSNR", "NRMSE"] = setting("SSIM", level="advanced")
    """The figure on held-out subjects by which the best model is known and kept."""
    patience: int = setting(0, ge=0, le=100_000, level="advanced")
    """Training ends early after so many evaluations without improvement; 0 never does."""
    min_delta: float = setting(0.0, ge=0, le=100, level="advanced")
    """What is better by no more than this is no improvement."""
    ema_decay: float = setting(0.995, ge=0, lt=1, level="advanced", title="Weight averaging")
    """Decay of the moving average of the weights; the average is what is saved as the model."""

    @property
    def stages(self) -> tuple[str, ...]:
        return ("reconstruction",)


class ReconstructionGenerateConfig(GenerateConfig):
    """Reconstruct a series."""

    spokes: int | None = setting(None, ge=1, le=1024)
    """Spokes a frame of the scan that is simulated of a cine; empty as in training."""
    noise: float | None = setting(None, ge=0, le=1, level="advanced")
    """Noise of that scan, as a share of the intensity range; empty as in training."""
    beside: bool = setting(False, title="Also what it started from")
    """Also give what the model started from: the zero-filled and the view-shared series."""


TINY = ReconstructionConfig(
    steps=12,
    frames=9,
    patch=32,
    width=8,
    coils=2,
    consistency_steps=1,
    spokes=7,
    preview_every=6,
    save_every=6,
)

QUICK = ReconstructionConfig(frames=12, preview_every=250)

BASE = ReconstructionConfig(
    batch_size=8,
    steps=40_000,
    width=64,
    consistency_steps=5,
    coils=8,
    frames=20,
    spokes_spread=5,
    ema_decay=0.9995,
    learning_rate=5e-4,
    save_every=1000,
    preview_every=1000,
)

PUBLISHED = ReconstructionConfig(
    network="unet3d",
    inputs="zero-filled",
    steps=4000,
    frames=20,
    loss="ssim",
    second_loss="none",
    optimizer="adam",
    learning_rate=1e-4,
    schedule="constant",
    spokes_spread=0,
    new_motion=0.0,
    vary=False,
    patience=2,
    min_delta=0.01,
    preview_every=500,
    ema_decay=0.0,
)

PRESETS = {
    "tiny": Preset(TINY, "Seconds on a CPU: to try that everything works."),
    "quick": Preset(QUICK, "Minutes on a CPU, and already better than view sharing."),
    "base": Preset(BASE, "The best, on a GPU."),
    "published": Preset(
        PUBLISHED,
        """The published system, to compare with.

        UNet-MRI-Reconstruction (G. Archie, 2020) made again: its best network by its best loss,
        UNet3D of 5 levels and 22.6 million parameters with the SSIM loss, batch 1, Adam 1e-4,
        early stopping on SSIM with patience 2 and min_delta 0.01, on zero-filled magnitude alone.

        Mended: the residual may take away as well as add; images of any size are padded; patients
        are split before series are cut; early stopping needs no metric that the loss already is.
        An epoch became 500 steps.
        """,
    ),
}
