"""Settings of the translation between T1w and T2w: for training, for use, and the presets."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from napari_mrgen.config import setting
from napari_mrgen.engine.family import GenerateConfig, Preset, TrainConfig

DirectionName = Literal["t1 to t2", "t2 to t1"]
CONTRASTS = ("t1", "t2")
"""The contrasts of a head between which volumes are translated; also the roles of its scans."""
DIRECTIONS: tuple[DirectionName, ...] = ("t1 to t2", "t2 to t1")

LEAST_PATCH = 16
"""Least side in voxels for the coarser scale of a discriminator, and for a window of the SSIM."""


class CycleGanConfig(TrainConfig):
    """Train two networks that translate volumes, each constrained by the other and discriminators.

    Where voxels of both contrasts lie on one another, the supervised loss of pairs teaches most.
    """

    batch_size: int = setting(1, ge=1, le=4096)
    """Number of volumes, or patches of them, in one training step."""
    network: Literal["residual", "published"] = setting("residual")
    """Architecture of the generators. ``residual``: a residual U-Net without norms, fast and
    without seams between tiles; ``published``: the network of 3D_CycleGAN."""
    patch: int = setting(64, ge=0, le=1024, unit="voxels")
    """Side of the cubic training patches; 0 trains on whole volumes. A model translates volumes of
    any size."""
    steps: int = setting(3000, ge=1, le=10_000_000, unit="steps")
    """Number of training steps."""
    direction: Literal["both", "t1 to t2", "t2 to t1"] = setting("both")
    """Direction of translation that is learned; one alone takes half the time, but has no cycle
    loss."""
    paired_weight: float = setting(200.0, ge=0, le=1e4)
    """Weight of the difference from the true volume of the other contrast; 0 learns without
    pairs. As in the papers, weights are for intensities that run from -1 to 1."""
    cycle_weight: float = setting(10.0, ge=0, le=1e4)
    """Weight of the cycle-consistency loss: the difference between a volume and itself after both
    directions."""
    identity_weight: float = setting(5.0, ge=0, le=1e4)
    """Weight of the identity loss: the change to a volume that already has the target contrast."""
    adversarial_weight: float = setting(1.0, ge=0, le=1e4)
    """Weight of the adversarial loss; a larger one gives sharper, but less accurate volumes."""
    unaligned: Literal["refuse", "register", "unpaired"] = setting("register")
    """What to do with a T1w and a T2w of a subject that do not lie on one another: refuse to train,
    register the T2w to the T1w (rigidly), or train on them as on two subjects."""
    bias_correction: bool = setting(False)
    """Correct the intensity inhomogeneity (N4) before training; it takes minutes a volume."""
    width: int = setting(32, ge=2, le=512, level="advanced", title="Filters")
    """Number of channels of the generators at the finest level; each coarser one has twice as many,
    ``residual`` three times at most."""
    levels: int = setting(3, ge=1, le=6, level="advanced")
    """Number of times that the generators halve the resolution; volumes are padded to a multiple of
    2 to this power."""
    blocks: int = setting(1, ge=0, le=64, level="advanced")
    """Number of residual blocks: in ``residual`` on each side of each level, and twice as many at
    the coarsest; in ``published`` at the coarsest level only."""
    checkpointing: bool = setting(False, level="advanced")
    """Recompute activations in the backward pass instead of storing them: less memory, a third more
    time."""
    discriminator_width: int = setting(
        16, ge=2, le=512, level="advanced", title="Discriminator filters", old="judge_width"
    )
    """Number of channels of the discriminators at their finest level; each coarser one has twice as
    many."""
    discriminator_levels: int = setting(
        3, ge=1, le=5, level="advanced", title="Discriminator levels", old="judge_levels"
    )
    """Number of times that the discriminators halve the resolution; more levels give a larger
    receptive field."""
    discriminator_scales: int = setting(
        2, ge=1, le=3, level="advanced", title="Discriminator scales", old="judge_scales"
    )
    """Number of discriminators a contrast: at full resolution, at half, ..."""
    pool: int = setting(50, ge=0, le=1000, level="advanced", title="Image pool")
    """Number of synthetic volumes (or patches) that are stored and shown to the discriminators
    again, so that they do not forget; 0 stores none."""
    ssim_weight: float = setting(0.5, ge=0, le=100, level="advanced", title="SSIM weight")
    """Weight of one minus the structural similarity of pairs, relative to the absolute
    difference."""
    background: float = setting(0.1, ge=0, le=1, level="advanced")
    """Weight of voxels outside the brain in the difference of pairs, relative to those inside."""
    full_every: int = setting(4, ge=1, le=1000, unit="steps", level="advanced")
    """Interval of the steps with cycle and adversarial losses; those between have the loss of pairs
    alone and take less than half the time. Without pairs every step is a full one."""
    identity_every: int = setting(12, ge=1, le=1000, unit="steps", level="advanced")
    """Interval of the steps with the identity loss."""
    augmentation: float = setting(1.0, ge=0, le=2, level="advanced")
    """Strength of the augmentation: mirroring left and right, enlarging parts of a patch, and small
    changes to contrast and shading of the input."""
    learning_rate: float = setting(1e-3, gt=0, le=1, level="advanced")
    """Learning rate of the generators."""
    discriminator_learning_rate: float = setting(
        4e-4,
        gt=0,
        le=1,
        level="advanced",
        title="Discriminator rate",
        old="judge_learning_rate",
    )
    """Learning rate of the discriminators."""
    momentum: float = setting(0.9, ge=0, lt=1, level="advanced")
    """First beta of the generators' optimizer (Adam); that of the discriminators is at most 0.5."""
    constant_share: float = setting(0.4, ge=0, le=1, level="advanced", title="Constant rate")
    """Share of the training after which the learning rates decay linearly to 0."""
    margin_mm: float = setting(5.0, ge=0, le=1000, unit="mm", level="advanced", title="Margin")
    """Width of the margin around the brain to which volumes are cropped."""
    ema_decay: float = setting(0.995, ge=0, lt=1, level="advanced", title="Weight averaging")
    """Decay of the moving average of the weights; the average is what is saved as the model."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.patch % self.legal or 0 < self.patch < LEAST_PATCH:
            msg = f"With {self.levels} levels the patch must be 0 or a multiple of {self.legal}"
            raise ValueError(f"{msg}, {LEAST_PATCH} at least, got {self.patch}")
        if not (self.paired_weight or self.adversarial_weight):
            msg = "Without pairs and discriminators there is nothing to learn from"
            raise ValueError(f"{msg}: set paired_weight or adversarial_weight above 0")
        return self

    @property
    def stages(self) -> tuple[str, ...]:
        return ("translation",)

    @property
    def legal(self) -> int:
        """What every side of a volume is padded to a multiple of."""
        return 1 << self.levels

    @property
    def directions(self) -> tuple[DirectionName, ...]:
        """The directions that are learned."""
        return DIRECTIONS if self.direction == "both" else (self.direction,)


class CycleGanGenerateConfig(GenerateConfig):
    """Translate a volume."""

    direction: Literal["auto", "t1 to t2", "t2 to t1"] = setting("auto")
    """Direction of translation; ``auto`` follows from the volume that is given."""
    cycle: bool = setting(False)
    """Translate the result back too, and show its error."""
    tile: int = setting(0, ge=0, le=1024, unit="voxels")
    """Side of the overlapping cubes in which the volume is translated, to use less memory; 0
    translates it whole where it fits. Cubes of less than 96 may show seams."""


TINY = CycleGanConfig(
    full_every=2,
    width=4,
    levels=2,
    discriminator_width=4,
    discriminator_levels=1,
    patch=16,
    pool=2,
    steps=16,
    save_every=10,
    preview_every=10,
)

QUICK = CycleGanConfig(preview_every=500, save_every=250)

BASE = CycleGanConfig(
    patch=96,
    batch_size=2,
    width=64,
    levels=4,
    blocks=2,
    discriminator_width=48,
    full_every=1,
    paired_weight=100.0,
    steps=60_000,
    learning_rate=4e-4,
    discriminator_learning_rate=2e-4,
    ema_decay=0.9995,
    preview_every=1000,
    save_every=1000,
)

PUBLISHED = CycleGanConfig(
    network="published",
    patch=0,
    steps=40,
    width=32,
    levels=1,
    blocks=1,
    discriminator_width=64,
    discriminator_levels=1,
    discriminator_scales=1,
    paired_weight=40.0,
    identity_weight=1.0,
    full_every=1,
    identity_every=10,
    ssim_weight=0.0,
    background=1.0,
    augmentation=0.0,
    learning_rate=2e-4,
    discriminator_learning_rate=2e-4,
    momentum=0.5,
    constant_share=0.5,
    ema_decay=0.0,
    save_every=10,
    preview_every=20,
)

PUBLISHED_DEEP = PUBLISHED.with_values(
    {
        "width": 64,
        "levels": 2,
        "blocks": 8,
        "discriminator_levels": 3,
        "checkpointing": True,
        "patch": 64,
    }
)

PRESETS = {
    "tiny": Preset(TINY, "Seconds on a CPU: to try that everything works."),
    "quick": Preset(
        QUICK,
        "Minutes on a CPU: pairs at every step, cycle and adversarial losses at every fourth.",
    ),
    "base": Preset(BASE, "The best, on a GPU."),
    "published": Preset(
        PUBLISHED,
        """The published system, 3D_CycleGAN, to compare with.

        3D_CycleGAN (A. Perrone, 2021) as it is distributed: whole volumes; a generator of 32 and 64
        filters with one residual block and transposed convolutions, 353,985 weights in its
        convolutions; one discriminator a contrast, 8,257 weights; losses LSGAN 1, cycle 10 and
        supervised 40 at every step, identity at every tenth; 50 volumes in the pool; Adam at 2e-4
        with betas of 0.5 and 0.999, constant for half of the training, then decaying linearly.

        Corrected here: instance normalisation takes each channel's own statistics over the volume,
        not those of all channels in each plane along z; the 99.5th percentile of the volume is the
        intensity 1, not its brightest voxel; subjects are held out by a split, volumes stream from
        disk, and crop, affine, intensities and padding of a result are those of its source. Each
        direction is learned in an update of its own, which needs half the memory; two such updates
        of the generators meet one of the discriminators, as in the original. Its 150 epochs became
        a length that a CPU can do.
        """,
    ),
    "published_deep": Preset(
        PUBLISHED_DEEP,
        """The larger variant of the published system.

        It was made for volumes of half the size: a generator of 64, 128 and 256 filters with 8
        residual blocks, 30.6 million weights; discriminators of 64, 128 and 256 filters. Otherwise
        as ``published``, but for patches of 64 in place of small whole volumes.
        """,
    ),
}
