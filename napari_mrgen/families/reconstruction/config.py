"""Settings of reconstruction: training, generation, and the presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from napari_mrgen.config import setting
from napari_mrgen.engine.family import GenerateConfig, Preset, TrainConfig

Loss = Literal["mse", "mae", "ssim", "psnr", "bce"]
Regularizer = Literal[
    "none", "l1", "l2", "l1_l2", "batch_norm", "instance_norm", "dropout", "dropblock"
]


class ReconstructionConfig(TrainConfig):
    """Train a network that removes the artefacts of a radial real-time scan."""

    batch_size: int = setting(1, ge=1, le=4096)
    """Series in one training step."""
    network: Literal["unrolled", "published", "unet3d_old", "unet2d1d", "unet2d2d"] = setting(
        "unrolled", old_values={"unet3d": "published"}
    )
    """Architecture: ``unrolled`` alternates small networks with data consistency; ``published`` is
    the UNet3D of UNet-MRI-Reconstruction, which gets images only, and the others are its
    variants."""
    inputs: Literal["view-shared", "zero-filled"] = setting(
        "view-shared", old_values={"shared": "view-shared"}
    )
    """Input of the network: ``zero-filled``, each frame gridded from its own spokes; or
    ``view-shared``, with the averages of 5, of 9 and of all frames as further channels."""
    steps: int = setting(1500, ge=1, le=10_000_000, unit="steps")
    """Number of training steps."""
    spokes: int = setting(13, ge=1, le=1024)
    """Spokes in each frame."""
    frames: int = setting(16, ge=9, le=1024)
    """Frames of a training series; at generation any number of at least 9 works."""
    patch: int = setting(128, ge=16, le=1024, unit="pixels")
    """Width and height of the training series; at generation any size works."""
    loss: Loss = setting("ssim")
    """Training loss: mean squared or absolute error, negative SSIM or PSNR, or the binary
    cross-entropy of intensities."""
    second_loss: Literal["none", "mse", "mae", "ssim", "psnr", "bce"] = setting("mae")
    """Second training loss, added to the first."""
    second_weight: float = setting(1.0, ge=0, le=1000, level="advanced")
    """Weight of the second loss."""
    optimizer: Literal["adam", "adamw", "rmsprop"] = setting("adamw", level="advanced")
    """Optimizer of the network."""
    learning_rate: float = setting(1e-3, gt=0, le=1, level="advanced")
    """Peak learning rate."""
    weight_decay: float = setting(0.0, ge=0, le=1, level="advanced")
    """Decoupled weight decay of ``adamw``."""
    schedule: Literal["one_cycle", "constant"] = setting("one_cycle", level="advanced")
    """Learning-rate schedule: ``one_cycle`` is a linear warm-up and a cosine decay."""
    width: int = setting(32, ge=1, le=512, level="advanced")
    """Channels at the finest level; coarser levels have more."""
    depth: int = setting(5, ge=2, le=6, level="advanced")
    """Resolution levels of the published U-Nets."""
    consistency_steps: int = setting(2, ge=1, le=8, level="advanced")
    """Number of unrolled data-consistency iterations."""
    regularizer: Regularizer = setting("none", level="advanced")
    """Regularisation: a penalty on the weights, or a layer after each convolution of the published
    U-Nets."""
    penalty: float = setting(1e-5, ge=0, le=1, level="advanced")
    """Weight of the penalty ``l1``, ``l2`` or ``l1_l2`` on the weights."""
    drop_rate: float = setting(0.1, ge=0, lt=1, level="advanced")
    """Rate of ``dropout`` and ``dropblock``."""
    block_size: int = setting(5, ge=1, le=64, unit="pixels", level="advanced")
    """Side of the blocks of ``dropblock``."""
    spokes_variation: int = setting(2, ge=0, le=512, level="advanced", old="spokes_spread")
    """Greatest random change of the number of spokes in training, either way."""
    coils: int = setting(4, ge=1, le=64, level="advanced")
    """Number of receiver coils in the simulated scan."""
    noise: float = setting(0.01, ge=0, le=1, level="advanced")
    """Noise of the simulated scan: its standard deviation in a fully sampled Cartesian image, as a
    share of the intensity range. In training it varies from 0 to twice as much."""
    angle: Literal["tiny golden", "golden"] = setting("tiny golden", level="advanced")
    """Azimuthal increment between spokes: 23.6 (``tiny golden``) or 111.2 degrees (``golden``)."""
    retimed_share: float = setting(0.5, ge=0, le=1, level="advanced", old="new_motion")
    """Share of the training series that are resampled in time: another motion curve and cycle
    length (temporal augmentation)."""
    augmentation: bool = setting(True, level="advanced", old="vary")
    """Spatial augmentation of the training series: flips, rotation, scaling and contrast."""
    monitor: Literal["SSIM", "PSNR", "NRMSE"] = setting("SSIM", level="advanced")
    """Metric on held-out subjects that selects the best model."""
    patience: int = setting(0, ge=0, le=100_000, level="advanced")
    """Evaluations without improvement after which training stops early; 0 never stops it."""
    min_delta: float = setting(0.0, ge=0, le=100, level="advanced")
    """Smallest change of the metric that counts as an improvement."""
    ema_decay: float = setting(0.995, ge=0, lt=1, level="advanced", title="Weight averaging")
    """Decay of the moving average of the weights; the average is what is saved as the model."""

    @property
    def stages(self) -> tuple[str, ...]:
        return ("reconstruction",)


class ReconstructionGenerateConfig(GenerateConfig):
    """Reconstruct a series."""

    for_jobs: ClassVar[Mapping[str, Any]] = {"include_inputs": True}

    spokes: int | None = setting(None, ge=1, le=1024)
    """Spokes in each frame of the scan simulated from a cine; empty as in training."""
    noise: float | None = setting(None, ge=0, le=1, level="advanced")
    """Noise of the simulated scan, as a share of the intensity range; empty as in training."""
    include_inputs: bool = setting(False, old="beside")
    """Include the zero-filled and the view-shared series in the results."""


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
    spokes_variation=5,
    ema_decay=0.9995,
    learning_rate=5e-4,
    save_every=1000,
    preview_every=1000,
)

PUBLISHED = ReconstructionConfig(
    network="published",
    inputs="zero-filled",
    steps=4000,
    frames=20,
    loss="ssim",
    second_loss="none",
    optimizer="adam",
    learning_rate=1e-4,
    schedule="constant",
    spokes_variation=0,
    retimed_share=0.0,
    augmentation=False,
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

        UNet-MRI-Reconstruction (G. Archie, 2020): its best network with its best loss, a
        UNet3D of 5 levels and 22.6 million parameters with the SSIM loss, batch 1, Adam 1e-4,
        early stopping on SSIM with patience 2 and min_delta 0.01, on zero-filled magnitude alone.

        Corrected: the residual may be negative too; images of any size are padded; patients
        are split before series are cut; early stopping works with every loss.
        An epoch became 500 steps.
        """,
    ),
}
