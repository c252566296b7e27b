"""Training of the priors over maps of codes; encoder, codebook and decoder stay fixed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from napari_mrgen.data.slices import SliceData
from napari_mrgen.engine.task import Batch, Draws, Networks, Task, frozen
from napari_mrgen.families.vqvae.config import VqVaeConfig
from napari_mrgen.families.vqvae.networks import codebook, decode, encode, shade
from napari_mrgen.families.vqvae.published import NOISE
from napari_mrgen.families.vqvae.sampling import sample_codes
from napari_mrgen.families.vqvae.tasks import as_volume
from napari_mrgen.nn.discriminators import bce_loss
from napari_mrgen.nn.schedules import one_cycle
from napari_mrgen.volume import Volume

CONDITION_DROPOUT = 0.3
"""Share of the slices whose age and sex are dropped, so that sampling works without them."""
FIRST_STAGE = ("encoder", "codebook", "decoder")
_COLUMNS = 4
_NEARNESS = 0.1
"""Weight of the distance of generated vectors from their nearest codes."""


class PriorTask(Task):
    """Codes of a batch, metrics and previews that both priors share."""

    network = ""

    def __init__(
        self,
        config: VqVaeConfig,
        networks: dict[str, nn.Module],
        optimizers: dict[str, Optimizer],
        data: SliceData,
    ) -> None:
        for name in FIRST_STAGE:
            networks[name].requires_grad_(False)
        shipped = (*FIRST_STAGE, self.network)
        super().__init__(networks, optimizers, shipped)
        self.config, self.data = config, data

    @torch.no_grad()
    def _indices(self, networks: Networks, batch: Batch) -> Tensor:
        return encode(networks, batch["image"])

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Show samples, from the top of the brain down."""
        count = _COLUMNS**2
        indices = sample_codes(
            networks,
            self._levels(count),
            [Draws((*draws.key, index)) for index in range(count)],
            self.config.side,
        )
        images = decode(networks, indices)[:, 0]
        rows = images.view(_COLUMNS, _COLUMNS, *images.shape[1:])
        return (self._picture(rows, "prior: samples"),)

    def _levels(self, count: int) -> Tensor:
        levels = (torch.arange(count, device=self.device) + 0.5) / count
        return functional.pad(levels[:, None], (0, 3))

    def _picture(self, rows: Tensor, name: str) -> Volume:
        """Tile images ``(rows, columns, y, x)``."""
        picture = torch.cat([torch.cat(list(row), -1) for row in rows], -2)
        return as_volume(picture[None], self.data.train_slices.spacing, name)


class TransformerTask(PriorTask):
    """Training of the masked transformer: it predicts the codes that are hidden."""

    network = "transformer"

    def __init__(
        self, config: VqVaeConfig, networks: dict[str, nn.Module], data: SliceData
    ) -> None:
        optimizer = torch.optim.AdamW(
            networks["transformer"].parameters(),
            config.prior_learning_rate,
            betas=(0.9, 0.98),
            weight_decay=3e-2,
        )
        super().__init__(config, networks, {"transformer": optimizer}, data)

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        rate = self.config.prior_learning_rate * one_cycle(step / self.config.prior_steps)
        self.set_learning_rate("transformer", rate)
        indices = self._indices(self.networks, batch)
        conditions = drop_conditions(batch["conditions"], draws("conditions", device=self.device))
        hidden = hide(indices, draws("hidden", device=self.device))
        codes, dropped = codebook(self.networks).codes, draws("dropout", device=self.device)
        logits = self.networks["transformer"](indices, hidden, conditions, codes, dropped)
        loss = hidden_loss(logits, indices, hidden)
        self.update("transformer", loss)
        return {"loss": loss.detach()}

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        """Return loss and accuracy of hidden codes; half are hidden, always the same ones."""
        indices = self._indices(networks, batch)
        hidden = torch.rand(indices.shape, generator=Draws((self.config.seed, "evaluate"))()) < 0.5
        hidden = hidden.to(indices.device)
        codes = codebook(networks).codes
        logits = networks["transformer"](indices, hidden, batch["conditions"], codes)
        correct = (logits.argmax(1) == indices)[hidden].float().mean()
        return {
            "loss of hidden codes": float(hidden_loss(logits, indices, hidden)),
            "accuracy of hidden codes": float(correct),
        }


class GanTask(PriorTask):
    """Training of the DCGAN prior: it generates vectors, which the codebook quantises.

    The discriminator gets quantised maps of real slices and of samples alike, so it cannot tell
    them apart by their scale; gradients pass straight through the quantisation as in the first
    stage.
    """

    network = "generator"

    def __init__(
        self,
        config: VqVaeConfig,
        networks: dict[str, nn.Module],
        discriminator: nn.Module,
        data: SliceData,
    ) -> None:
        optimizers: dict[str, Optimizer] = {
            name: torch.optim.Adam(
                network.parameters(), config.prior_learning_rate, betas=(0.5, 0.999)
            )
            for name, network in (
                ("generator", networks["generator"]),
                ("discriminator", discriminator),
            )
        }
        super().__init__(config, {**networks, "discriminator": discriminator}, optimizers, data)

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        book = codebook(self.networks)
        real = book.embed(self._indices(self.networks, batch)).detach()
        conditions = drop_conditions(batch["conditions"], draws("conditions", device=self.device))
        noise = torch.randn(
            len(conditions), NOISE, generator=draws("noise", device=self.device), device=self.device
        )
        generated = book.prepare(self.networks["generator"](noise, conditions))
        fake = self.networks["codebook"](generated).vectors
        discriminator = self.networks["discriminator"]
        discriminator_loss = 0.5 * bce_loss(
            discriminator(real, conditions), discriminator(fake.detach(), conditions)
        )
        self.update("discriminator", discriminator_loss)
        with frozen(discriminator):
            logits = discriminator(fake, conditions)
        generator_loss = functional.binary_cross_entropy_with_logits(
            logits, torch.ones_like(logits)
        )
        nearness = functional.mse_loss(generated, fake.detach())
        self.update("generator", generator_loss + _NEARNESS * nearness)
        return {"discriminator": discriminator_loss.detach(), "generator": generator_loss.detach()}

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        """Return the distance of generated vectors from codes, and the share of codes used."""
        conditions = batch["conditions"]
        draws = Draws((self.config.seed, "evaluate"))
        noise = torch.randn(len(conditions), NOISE, generator=draws()).to(conditions)
        book = codebook(networks)
        generated = book.prepare(networks["generator"](noise, conditions))
        quantized = networks["codebook"](generated)
        return {
            "distance from codes": math.sqrt(functional.mse_loss(generated, quantized.vectors)),
            "codes used": len(quantized.indices.unique()) / book.count,
        }

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Show in a row: the generated map, the quantised map, and the decoded slice."""
        conditions = self._levels(_COLUMNS)
        noise = torch.randn(_COLUMNS, NOISE, generator=draws()).to(conditions)
        book = codebook(networks)
        generated = book.prepare(networks["generator"](noise, conditions))
        indices = networks["codebook"](generated).indices
        maps = [shade(v, book, self.config.factor) for v in (generated, book.embed(indices))]
        rows = torch.cat([*maps, decode(networks, indices)], 1)
        return (self._picture(rows, "prior: map, quantised map, sample"),)


def hide(indices: Tensor, generator: torch.Generator) -> Tensor:
    """Mask a random share of each map's codes, the cosine of a uniform number."""
    share = torch.rand(len(indices), 1, 1, generator=generator, device=indices.device)
    share = torch.cos(math.pi / 2 * share)
    return torch.rand(indices.shape, generator=generator, device=indices.device) < share


def hidden_loss(logits: Tensor, indices: Tensor, hidden: Tensor) -> Tensor:
    """Mean cross-entropy of the hidden codes, in nats a code."""
    loss = functional.cross_entropy(logits, indices, reduction="none")
    return (loss * hidden).sum() / hidden.sum().clamp(min=1)


def drop_conditions(conditions: Tensor, generator: torch.Generator) -> Tensor:
    """Drop age and sex of a share of the slices ``(n, 4)``; the level stays."""
    kept = (
        torch.rand(len(conditions), 1, generator=generator, device=conditions.device)
        >= CONDITION_DROPOUT
    )
    return torch.cat([conditions[:, :1], conditions[:, 1:] * kept], 1)
