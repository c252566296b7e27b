"""How the two translators learn, from pairs, from each other and from discriminators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from napari_mrgen.data.heads.patches import VolumePatches
from napari_mrgen.data.heads.preprocessing import PreprocessedSession
from napari_mrgen.engine.task import Batch, Draws, Networks, Task
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.cyclegan.config import CycleGanConfig
from napari_mrgen.families.cyclegan.losses import difference, paired_loss, varied
from napari_mrgen.families.cyclegan.networks import Direction, directions
from napari_mrgen.families.cyclegan.pool import ImagePool
from napari_mrgen.families.cyclegan.previews import show
from napari_mrgen.metrics.images import psnr, ssim
from napari_mrgen.nn.discriminators import lsgan_loss
from napari_mrgen.nn.schedules import linear_decay
from napari_mrgen.volume import Volume

REAL, FAKE = 1.0, 0.0
"""What a discriminator shall say of a patch."""
WARM_UP = 0.02
"""Share of the training in which the learning rates rise."""
_NOTHING_TO_LEARN = (
    "No T1w and T2w here are pairs, and without discriminators there is nothing to learn from; "
    "set adversarial_weight above 0, or give pairs."
)


@dataclass(frozen=True)
class TrainingSamples:
    """What a task must know of the volumes that it trains on."""

    shape: tuple[int, int, int]
    """``(z, y, x)`` of every sample."""
    has_pairs: bool
    """Whether some samples are pairs."""
    has_singles: bool = False
    """Whether some are none."""
    shown: PreprocessedSession | None = None
    """The held-out head of the previews."""

    @classmethod
    def of(cls, data: VolumePatches) -> Self:
        pairs = data.test_sessions
        shown = next((pair for pair in pairs if pair.is_paired), pairs[0])
        share = data.paired_share
        return cls(data.shape, has_pairs=share > 0, has_singles=share < 1, shown=shown)


class CycleTask(Task):
    """Each direction learns in an update of its own, so that only one is in memory.

    Its own network learns from all losses; the other one too, by the way back, in full steps.

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
        self._is_game = config.adversarial_weight > 0
        if not (self._uses_pairs or self._is_game):
            raise MrgenError(_NOTHING_TO_LEARN)
        pools = {direction.pool: self._pool() for direction in self.directions if self._is_game}
        super().__init__(
            {**networks, **pools},
            self._optimizers(networks),
            tuple(direction.network for direction in self.directions),
            clip_norm=None if config.network == "published" else 1.0,
        )

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        self._set_rates(step / self.config.steps)
        is_full = (
            not self._uses_pairs
            or step % self.config.full_every == 0
            or (self.samples.has_singles and not bool(batch["paired"].any()))
        )
        found: dict[str, list[Tensor]] = {}
        fakes: dict[str, Tensor] = {}
        for direction in self.directions:
            fakes[direction.target], losses = self._teach(direction, batch, is_full, draws)
            for name, loss in losses.items():
                found.setdefault(name, []).append(loss.detach())
        if self.config.identity_weight and step % self.config.identity_every == 0:
            found["identity"] = [
                self._teach_identity(direction, batch) for direction in self.directions
            ]
        if is_full and self._is_game:
            found["discriminators"] = [
                self._teach_judge(direction, batch, fakes[direction.target], draws)
                for direction in self.directions
            ]
        return {name: torch.stack(losses).mean() for name, losses in found.items()}

    def _teach(
        self, direction: Direction, batch: Batch, is_full: bool, draws: Draws
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Teach one direction; return what it made, and its losses."""
        config = self.config
        generator = draws("vary", direction.source, device=self.device)
        source = varied(batch[direction.source], generator, config.augmentation)
        truth = batch[direction.target]
        fake = self.networks[direction.network](source)
        losses: dict[str, Tensor] = {}
        if self._uses_pairs:
            losses["pairs"] = config.paired_weight * paired_loss(fake, truth, batch, config)
        if is_full:
            losses |= self._play(direction, source, fake)
        self.update("generators", torch.stack(list(losses.values())).sum())
        return fake.detach(), losses

    def _play(self, direction: Direction, source: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Let the way back and the discriminator say how good a translation is."""
        config, losses = self.config, {}
        if config.cycle_weight and direction.inverse_network in self.networks:
            again = self.networks[direction.inverse_network](fake)
            losses["cycle"] = config.cycle_weight * difference(again, source)
        if self._is_game:
            judge = self.networks[direction.discriminator].requires_grad_(False)
            losses["adversarial"] = config.adversarial_weight * lsgan_loss(judge(fake), REAL)
        return losses

    def _teach_identity(self, direction: Direction, batch: Batch) -> Tensor:
        """Teach a direction to leave alone what has its contrast already."""
        given = batch[direction.target]
        loss = self.config.identity_weight * difference(
            self.networks[direction.network](given), given
        )
        self.update("generators", loss)
        return loss.detach()

    def _teach_judge(
        self, direction: Direction, batch: Batch, fake: Tensor, draws: Draws
    ) -> Tensor:
        """Teach a discriminator with real volumes and translated ones, of now or of before."""
        judge = self.networks[direction.discriminator].requires_grad_(True)
        generator = draws("pool", direction.target, device=self.device)
        chances = torch.rand(len(fake), 2, generator=generator, device=self.device)
        shown = self.together(self.networks[direction.pool], fake, chances)
        loss = lsgan_loss(judge(batch[direction.target]), REAL) + lsgan_loss(judge(shown), FAKE)
        self.update(direction.discriminator, loss / 2)
        return loss.detach() / 2

    def _set_rates(self, done: float) -> None:
        config = self.config
        warm_up = 0.0 if config.network == "published" else WARM_UP
        share = linear_decay(done, config.constant_share, warm_up)
        for name in self.optimizers:
            rate = (
                config.learning_rate if name == "generators" else config.discriminator_learning_rate
            )
            self.set_learning_rate(name, share * rate)

    def _optimizers(self, networks: Networks) -> dict[str, Optimizer]:
        config = self.config
        weights = [
            p for direction in self.directions for p in networks[direction.network].parameters()
        ]
        found: dict[str, Optimizer] = {}
        if config.network == "published":
            betas = (config.momentum, 0.999)
            found["generators"] = torch.optim.Adam(weights, config.learning_rate, betas)
        else:
            betas = (config.momentum, 0.99)
            found["generators"] = torch.optim.AdamW(weights, config.learning_rate, betas)
        for name in [direction.discriminator for direction in self.directions if self._is_game]:
            found[name] = torch.optim.Adam(
                networks[name].parameters(),
                config.discriminator_learning_rate,
                (min(0.5, config.momentum), betas[1]),
            )
        return found

    def _pool(self) -> ImagePool:
        """Return a pool; none that would never be full, since it would hand on what it is given."""
        config = self.config
        total = config.steps * config.batch_size
        size = config.pool if config.pool < total else 0
        return ImagePool(size, (1, *self.samples.shape))

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        """Compare with the true volume in the brain, and with the volume after both directions."""
        found: dict[str, float] = {}
        is_paired, mask = bool(batch["paired"].min() > 0), batch["mask"]
        for direction in self.directions:
            source, truth = batch[direction.source], batch[direction.target]
            if not bool(source.any()):
                continue  # This head has the other contrast only.
            fake = _one_by_one(networks[direction.network], source)
            if is_paired:
                error = psnr(fake, truth, mask=mask, dims=3)
                similarity = ssim(fake, truth, mask=mask, dims=3)
                found[f"{direction.title}: PSNR"] = float(error.nanmean())
                found[f"{direction.title}: SSIM"] = float(similarity.nanmean())
            if direction.inverse_network in networks:
                again = _one_by_one(networks[direction.inverse_network], fake)
                found[f"{direction.source_title} after both: error"] = float(
                    (again - source).abs().mean()
                )
        return found

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Show a held-out head in each direction: real, synthetic, back again, difference."""
        del draws
        pair = self.samples.shown
        if pair is None:
            return ()
        return tuple(
            volume
            for direction in self.directions
            if pair.has(direction.source)
            for volume in show(networks, direction, pair, self.config)
        )


def _one_by_one(network: nn.Module, volumes: Tensor) -> Tensor:
    """Translate ``(b, 1, z, y, x)`` with no more memory than training takes."""
    return torch.cat([network(volume[None]) for volume in volumes])
