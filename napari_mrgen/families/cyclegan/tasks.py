"""How the translators learn, from pairs, from each other and from discriminators.

All volumes are ``(b, 1, z, y, x)``, scaled to 0..1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from napari_mrgen.data.heads.cache import PreprocessedSession
from napari_mrgen.data.heads.patches import VolumePatches
from napari_mrgen.engine.device import device_of
from napari_mrgen.engine.task import Batch, Draws, Networks, Task, frozen
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.cyclegan.config import CycleGanConfig
from napari_mrgen.families.cyclegan.networks import Direction, directions
from napari_mrgen.families.cyclegan.sampling import translate_tiles
from napari_mrgen.metrics.images import SSIM_WINDOW, psnr, ssim, ssim_map
from napari_mrgen.nn.discriminators import lsgan_loss
from napari_mrgen.nn.losses import charbonnier
from napari_mrgen.nn.schedules import linear_decay
from napari_mrgen.volume import Volume

REAL, FAKE = 1.0, 0.0
"""Targets of a discriminator's logits (least squares)."""
WARM_UP = 0.02
"""Share of the training in which the learning rates rise."""
RANGE_IN_PAPERS = 2.0
"""How much larger differences are in the papers, where intensities run from -1 to 1."""
ROUNDED = 0.05
"""Differences of pairs below this are penalised by their square, as they are in PSNR."""
PREVIEW_TILE = 1.5
"""Sides of a patch in those of a preview's tiles: a preview needs less memory than a step."""
MOST_VOXELS = 1_000_000
"""Larger volumes are shown at half their resolution: previews are written often, and stay."""
_GAMMA, _GAIN, _SLOPE = 0.1, 0.05, 0.03
"""Largest augmentation: the exponent's logarithm, the brightness, and its change to each side."""
_POOL_UNIT = 16384
"""Intensities of a pool are whole numbers in this unit: half the memory, and buffers of whole
numbers are not averaged over the processes of a run, whose pools are the same anyway."""
_NOTHING_TO_LEARN = (
    "No T1w and T2w here are pairs, and without discriminators there is nothing to learn from; "
    "set adversarial_weight above 0, or give pairs."
)


@dataclass(frozen=True)
class TrainingSamples:
    """What a task must know of the samples that it trains on."""

    shape: tuple[int, int, int]
    """``(z, y, x)`` of every sample."""
    has_pairs: bool
    """Whether some samples are pairs."""
    has_singles: bool = False
    """Whether some samples are not pairs."""
    preview: PreprocessedSession | None = None
    """The held-out head of the previews."""

    @classmethod
    def of(cls, data: VolumePatches) -> Self:
        sessions, share = data.test_sessions, data.paired_share
        preview = next((one for one in sessions if one.is_paired), sessions[0])
        return cls(data.shape, has_pairs=share > 0, has_singles=share < 1, preview=preview)


class CycleTask(Task):
    """Each direction learns in an update of its own, so that only one is in memory.

    Its own network learns from all losses; the inverse one too, by the cycle, in full steps.

    References
    ----------
    Zhu et al., "Unpaired image-to-image translation using cycle-consistent adversarial networks",
    ICCV 2017.
    """

    def __init__(
        self, config: CycleGanConfig, networks: dict[str, nn.Module], samples: TrainingSamples
    ) -> None:
        self.config, self.samples = config, samples
        self.directions = directions(config)
        self._uses_pairs = bool(config.paired_weight and samples.has_pairs)
        self._is_adversarial = config.adversarial_weight > 0
        if not (self._uses_pairs or self._is_adversarial):
            raise MrgenError(_NOTHING_TO_LEARN)
        # A pool that would never be full hands on all that it is given: none is needed.
        size = config.pool if config.pool < config.steps * config.batch_size else 0
        adversarial = self.directions if self._is_adversarial else ()
        pools = {one.pool: ImagePool(size, (1, *samples.shape)) for one in adversarial}
        super().__init__(
            {**networks, **pools},
            self._optimizers(networks),
            tuple(direction.network for direction in self.directions),
            clip_norm=None if config.network == "published" else 1.0,
        )

    def _optimizers(self, networks: Networks) -> dict[str, Optimizer]:
        config = self.config
        weights = [p for one in self.directions for p in networks[one.network].parameters()]
        optimizers: dict[str, Optimizer] = {}
        if config.network == "published":
            betas = (config.momentum, 0.999)
            optimizers["generators"] = torch.optim.Adam(weights, config.learning_rate, betas)
        else:
            betas = (config.momentum, 0.99)
            optimizers["generators"] = torch.optim.AdamW(weights, config.learning_rate, betas)
        for name in [one.discriminator for one in self.directions if self._is_adversarial]:
            optimizers[name] = torch.optim.Adam(
                networks[name].parameters(),
                config.discriminator_learning_rate,
                (min(0.5, config.momentum), betas[1]),
            )
        return optimizers

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        config = self.config
        self._set_rates(step / config.steps)
        is_full = (
            not self._uses_pairs
            or step % config.full_every == 0
            or (self.samples.has_singles and not bool(batch["paired"].any()))
        )
        losses: dict[str, list[Tensor]] = {}
        fakes: dict[str, Tensor] = {}
        for direction in self.directions:
            fakes[direction.target], own = self._train_generator(direction, batch, is_full, draws)
            for name, loss in own.items():
                losses.setdefault(name, []).append(loss.detach())
        if config.identity_weight and step % config.identity_every == 0:
            losses["identity"] = [self._train_identity(one, batch) for one in self.directions]
        if is_full and self._is_adversarial:
            losses["discriminators"] = [
                self._train_discriminator(direction, batch, fakes[direction.target], draws)
                for direction in self.directions
            ]
        return {name: torch.stack(values).mean() for name, values in losses.items()}

    def _train_generator(
        self, direction: Direction, batch: Batch, is_full: bool, draws: Draws
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Update one direction; return the translated volumes, and the losses."""
        config = self.config
        generator = draws("vary", direction.source, device=self.device)
        source = augmented(batch[direction.source], generator, config.augmentation)
        truth = batch[direction.target]
        fake = self.networks[direction.network](source)
        losses: dict[str, Tensor] = {}
        if self._uses_pairs:
            losses["pairs"] = config.paired_weight * paired_loss(fake, truth, batch, config)
        if is_full and config.cycle_weight and direction.inverse_network in self.networks:
            cycled = self.networks[direction.inverse_network](fake)
            losses["cycle"] = config.cycle_weight * difference(cycled, source)
        if is_full and self._is_adversarial:
            with frozen(self.networks[direction.discriminator]) as discriminator:
                adversarial = lsgan_loss(discriminator(fake), REAL)
            losses["adversarial"] = config.adversarial_weight * adversarial
        self.update("generators", torch.stack(list(losses.values())).sum())
        return fake.detach(), losses

    def _train_identity(self, direction: Direction, batch: Batch) -> Tensor:
        """Teach a direction to leave alone what has its target contrast already."""
        volume = batch[direction.target]
        change = difference(self.networks[direction.network](volume), volume)
        loss = self.config.identity_weight * change
        self.update("generators", loss)
        return loss.detach()

    def _train_discriminator(
        self, direction: Direction, batch: Batch, fake: Tensor, draws: Draws
    ) -> Tensor:
        """Update a discriminator with real volumes and translated ones, of now or of before."""
        discriminator = self.networks[direction.discriminator]
        generator = draws("pool", direction.target, device=self.device)
        uniform = torch.rand(len(fake), 2, generator=generator, device=self.device)
        pooled = self.together(self.networks[direction.pool], fake, uniform)
        real_loss = lsgan_loss(discriminator(batch[direction.target]), REAL)
        loss = real_loss + lsgan_loss(discriminator(pooled), FAKE)
        self.update(direction.discriminator, loss / 2)
        return loss.detach() / 2

    def _set_rates(self, done: float) -> None:
        config = self.config
        warm_up = 0.0 if config.network == "published" else WARM_UP
        share = linear_decay(done, config.constant_share, warm_up)
        for name in self.optimizers:
            is_generator = name == "generators"
            rate = config.learning_rate if is_generator else config.discriminator_learning_rate
            self.set_learning_rate(name, share * rate)

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        """Compare with the true volume in the brain, and with the volume after both directions."""

        def translated(network: str, volumes: Tensor) -> Tensor:
            # One by one, so that no more memory is needed than in training.
            return torch.cat([networks[network](volume[None]) for volume in volumes])

        metrics: dict[str, float] = {}
        is_paired, mask = bool(batch["paired"].min() > 0), batch["mask"]
        for direction in self.directions:
            source, truth = batch[direction.source], batch[direction.target]
            if not bool(source.any()):
                continue  # This head has the other contrast only.
            fake = translated(direction.network, source)
            if is_paired:
                error = psnr(fake, truth, mask=mask, dims=3)
                similarity = ssim(fake, truth, mask=mask, dims=3)
                metrics[f"{direction.title}: PSNR"] = float(error.nanmean())
                metrics[f"{direction.title}: SSIM"] = float(similarity.nanmean())
            if direction.inverse_network in networks:
                missed = (translated(direction.inverse_network, fake) - source).abs().mean()
                metrics[f"{direction.source_title} after both: error"] = float(missed)
        return metrics

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Show a held-out head in each direction: synthetic, real, back again, difference."""
        del draws
        session = self.samples.preview
        if session is None:
            return ()
        return tuple(
            volume
            for direction in self.directions
            if session.has(direction.source)
            for volume in _preview(networks, direction, session, self.config)
        )


# ---- losses and augmentation --------------------------------------------------------------------


def paired_loss(fake: Tensor, truth: Tensor, batch: Batch, config: CycleGanConfig) -> Tensor:
    """Return the difference from the true volume, by voxel and by structure, mostly in the brain.

    Samples of a batch that are not pairs do not count.
    """
    paired = batch["paired"].view(-1, 1, 1, 1, 1)
    weight = paired * (config.background + (1 - config.background) * batch["mask"])
    width = 0.0 if config.network == "published" else ROUNDED
    loss = RANGE_IN_PAPERS * charbonnier(fake - truth, width, weight)
    if config.ssim_weight and min(fake.shape[2:]) >= SSIM_WINDOW:
        edge = SSIM_WINDOW // 2
        inner = (..., *(slice(edge, -edge),) * 3)
        dissimilarity = (1 - ssim_map(fake, truth, dims=3)) * weight[inner]
        mean = dissimilarity.sum() / weight[inner].sum().clamp(min=1)
        loss = loss + config.ssim_weight * mean
    return loss


def difference(one: Tensor, other: Tensor) -> Tensor:
    """Return the mean absolute difference, on the papers' range of intensities."""
    return RANGE_IN_PAPERS * (one - other).abs().mean()


def augmented(volume: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Vary contrast, brightness and shading gently, as scanners do; 0 stays 0.

    ``strength`` 0 leaves volumes as they are, 1 is the usual.
    """
    if strength == 0:
        return volume
    uniform = torch.rand(5, len(volume), generator=generator, device=generator.device)
    gamma, gain, *slopes = (strength * (2 * uniform - 1)).to(volume).view(5, -1, 1, 1, 1, 1)
    shading = 1 + _GAIN * gain
    for axis, slope in enumerate(slopes, start=2):
        place = torch.linspace(-1, 1, volume.shape[axis], device=volume.device)
        shading = shading + _SLOPE * slope * place.view(-1, *[1] * (4 - axis))
    exponent = (_GAMMA * gamma).exp()
    result: Tensor = volume.clamp(min=0).pow(exponent) * shading
    return result


class ImagePool(nn.Module):
    """Return each image that it is given, or in half of the cases an older one in its place.

    Images are kept in buffers, so that they are saved, and nothing is read back from the device.
    Several processes must call it together (`Task.together`), since the pool of only one is saved.

    References
    ----------
    Shrivastava et al., "Learning from simulated and unsupervised images through adversarial
    training", CVPR 2017.

    Parameters
    ----------
    size
        Number of images that are kept; until it is full every image is returned as it is given.
    shape
        Shape of an image, such as ``(1, z, y, x)``.
    """

    images: Tensor
    count: Tensor

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(size, *shape, dtype=torch.int16))
        self.register_buffer("count", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def forward(self, fresh: Tensor, uniform: Tensor) -> Tensor:
        """Return as many images as are given.

        Parameters
        ----------
        fresh
            ``(b, *shape)``, between -2 and 2.
        uniform
            ``(b, 2)``, evenly from 0 to 1: whether an image is exchanged, and for which.
        """
        if not len(self.images):
            return fresh
        return torch.stack([self._exchange(*each) for each in zip(fresh, uniform, strict=True)])

    def _exchange(self, fresh: Tensor, uniform: Tensor) -> Tensor:
        size = len(self.images)
        is_full = self.count >= size
        is_exchanged = is_full & (uniform[:1] < 0.5)
        place = torch.where(is_full, (uniform[1:] * size).long(), self.count)
        old = self.images.index_select(0, place)[0]
        unit = _POOL_UNIT
        coded = (fresh * unit).round().clamp(-2 * unit, 2 * unit - 1).to(old)
        self.images.index_copy_(0, place, torch.where(is_full & ~is_exchanged, old, coded)[None])
        self.count.add_(~is_full)
        return torch.where(is_exchanged, old.to(fresh) / unit, fresh)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any, **named: Any
    ) -> None:
        """Start empty where images have another size than those that were saved."""
        saved = state_dict.get(f"{prefix}images")
        if saved is not None and saved.shape != self.images.shape:
            for name, buffer in self.named_buffers():
                state_dict[prefix + name] = torch.zeros_like(buffer)
        super()._load_from_state_dict(state_dict, prefix, *rest, **named)


# ---- previews -----------------------------------------------------------------------------------


def _preview(
    networks: Networks, direction: Direction, session: PreprocessedSession, config: CycleGanConfig
) -> Iterator[Volume]:
    """Yield the head translated, as it is, after both directions, and an error.

    The error is the difference from the true volume, or that after both directions where there is
    no true one. A head is translated whole where whole ones are trained on, else in tiles.
    """
    device = device_of(networks[direction.network])
    side = round(PREVIEW_TILE * config.patch)
    place = session.volume("mask")

    def values(contrast: str) -> Tensor:
        array = np.array(session.array(contrast), np.float32)
        return torch.from_numpy(array)[None, None].to(device)

    def shown(volume: Tensor, name: str, window: tuple[float, float] = (0.0, 1.0)) -> Volume:
        """Return ``(1, 1, z, y, x)`` in its place, at half the resolution where it is large."""
        array, affine = volume[0, 0].float().cpu(), place.affine
        if array.numel() > MOST_VOXELS:
            array = functional.avg_pool3d(array[None, None], 2)[0, 0]
            # The first of the larger voxels lies between the first two.
            affine = affine @ np.array(
                [[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]], np.float64
            )
        return Volume(array.numpy(), "zyx", affine, name=name, subject=place.subject, window=window)

    source = values(direction.source)
    fake = translate_tiles(networks[direction.network], source, side, config.legal)
    yield shown(fake, f"synthetic {direction.target_title}")
    yield shown(source, f"real {direction.source_title}")
    error = None
    if direction.inverse_network in networks:
        cycled = translate_tiles(networks[direction.inverse_network], fake, side, config.legal)
        yield shown(cycled, f"{direction.source_title} after both directions")
        error = cycled - source
    if session.has(direction.target):
        error = fake - values(direction.target)
    if error is not None:
        yield shown(error, f"{direction.title}: difference", (-0.5, 0.5))
