"""How the priors learn to draw maps of codes: what the first stage has learned stays as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from napari_mrgen.data.slices import SliceData
from napari_mrgen.engine.task import Batch, Draws, Networks, Task
from napari_mrgen.families.vqvae.config import VqVaeConfig
from napari_mrgen.families.vqvae.networks import codebook, decode, encode, shade
from napari_mrgen.families.vqvae.published import NOISE
from napari_mrgen.families.vqvae.sampling import draw_codes
from napari_mrgen.families.vqvae.tasks import as_volume
from napari_mrgen.nn.discriminators import bce_loss
from napari_mrgen.nn.schedules import one_cycle
from napari_mrgen.volume import Volume

FORGET = 0.3
"""Share of slices whose age and sex the prior is not told, so that it can do without."""
FIRST_STAGE = ("encoder", "codebook", "decoder")
_COLUMNS = 4
_NEARNESS = 0.1
"""Weight of how far drawn vectors lie from the codes that replace them."""


class PriorTask(Task):
    """What both priors share: codes of a batch, figures and previews."""

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
        """Show drawn slices, from the top of the brain down."""
        count = _COLUMNS**2
        indices = draw_codes(
            networks,
            self._levels(count),
            [Draws((*draws.key, index)) for index in range(count)],
            self.config.side,
        )
        images = decode(networks, indices)[:, 0]
        rows = images.view(_COLUMNS, _COLUMNS, *images.shape[1:])
        return (self._picture(rows, "prior: drawn slices"),)

    def _levels(self, count: int) -> Tensor:
        levels = (torch.arange(count, device=self.device) + 0.5) / count
        return functional.pad(levels[:, None], (0, 3))

    def _picture(self, rows: Tensor, name: str) -> Volume:
        """Put images ``(rows, columns, y, x)`` beside and below one another."""
        picture = torch.cat([torch.cat(list(row), -1) for row in rows], -2)
        return as_volume(picture[None], self.data.train_slices.spacing, name)


class TransformerTask(PriorTask):
    """The masked transformer: it learns to name codes that are hidden from it."""

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
        told = forget(batch["told"], draws("told", device=self.device))
        hidden = hide(indices, draws("hidden", device=self.device))
        codes, dropped = codebook(self.networks).codes, draws("dropout", device=self.device)
        logits = self.networks["transformer"](indices, hidden, told, codes, dropped)
        loss = hidden_loss(logits, indices, hidden)
        self.update("transformer", loss)
        return {"loss": loss.detach()}

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        """Tell how well codes are named of which half are hidden, the same ones at each call."""
        indices = self._indices(networks, batch)
        hidden = torch.rand(indices.shape, generator=Draws((self.config.seed, "evaluate"))()) < 0.5
        hidden = hidden.to(indices.device)
        codes = codebook(networks).codes
        logits = networks["transformer"](indices, hidden, batch["told"], codes)
        right = (logits.argmax(1) == indices)[hidden].float().mean()
        return {
            "loss of hidden codes": float(hidden_loss(logits, indices, hidden)),
            "hidden codes right": float(right),
        }


class GanTask(PriorTask):
    """The DCGAN: its generator draws codes' vectors, and each is replaced by the nearest code.

    The discriminator sees codes of real and of drawn slices alike, so it cannot tell them apart by
    their scale; gradients pass the replacement as they do in the first stage.
    """

    network = "generator"

    def __init__(
        self,
        config: VqVaeConfig,
        networks: dict[str, nn.Module],
        judge: nn.Module,
        data: SliceData,
    ) -> None:
        optimizers: dict[str, Optimizer] = {
            name: torch.optim.Adam(
                network.parameters(), config.prior_learning_rate, betas=(0.5, 0.999)
            )
            for name, network in (("generator", networks["generator"]), ("discriminator", judge))
        }
        super().__init__(config, {**networks, "discriminator": judge}, optimizers, data)

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        book = codebook(self.networks)
        real = book.embed(self._indices(self.networks, batch)).detach()
        told = forget(batch["told"], draws("told", device=self.device))
        noise = torch.randn(
            len(told), NOISE, generator=draws("noise", device=self.device), device=self.device
        )
        drawn = book.prepare(self.networks["generator"](noise, told))
        fake = self.networks["codebook"](drawn).vectors
        judge = self.networks["discriminator"]
        judged = 0.5 * bce_loss(judge(real, told), judge(fake.detach(), told))
        self.update("discriminator", judged)
        judge.requires_grad_(False)
        opinion = judge(fake, told)
        fooled = functional.binary_cross_entropy_with_logits(opinion, torch.ones_like(opinion))
        nearness = functional.mse_loss(drawn, fake.detach())
        self.update("generator", fooled + _NEARNESS * nearness)
        judge.requires_grad_(True)
        return {"discriminator": judged.detach(), "generator": fooled.detach()}

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        """Tell how far the drawn vectors lie from codes, and how many codes they reach."""
        told = batch["told"]
        draws = Draws((self.config.seed, "evaluate"))
        noise = torch.randn(len(told), NOISE, generator=draws()).to(told)
        book = codebook(networks)
        drawn = book.prepare(networks["generator"](noise, told))
        found = networks["codebook"](drawn)
        return {
            "distance from codes": math.sqrt(functional.mse_loss(drawn, found.vectors)),
            "codes drawn": len(found.indices.unique()) / book.count,
        }

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        """Show in a row: the generator's map, the codes nearest to it, and the slice they make."""
        told = self._levels(_COLUMNS)
        noise = torch.randn(_COLUMNS, NOISE, generator=draws()).to(told)
        book = codebook(networks)
        drawn = book.prepare(networks["generator"](noise, told))
        indices = networks["codebook"](drawn).indices
        maps = [shade(v, book, self.config.factor) for v in (drawn, book.embed(indices))]
        rows = torch.cat([*maps, decode(networks, indices)], 1)
        return (self._picture(rows, "prior: map, quantised map, drawn slice"),)


def hide(indices: Tensor, generator: torch.Generator) -> Tensor:
    """Hide a random share of each map's codes: the cosine of a number drawn evenly."""
    share = torch.rand(len(indices), 1, 1, generator=generator, device=indices.device)
    share = torch.cos(math.pi / 2 * share)
    return torch.rand(indices.shape, generator=generator, device=indices.device) < share


def hidden_loss(logits: Tensor, indices: Tensor, hidden: Tensor) -> Tensor:
    """Mean cross-entropy of the hidden codes, in nats a code."""
    loss = functional.cross_entropy(logits, indices, reduction="none")
    return (loss * hidden).sum() / hidden.sum().clamp(min=1)


def forget(told: Tensor, generator: torch.Generator) -> Tensor:
    """Leave out age and sex of some slices ``(n, 4)``; the level stays."""
    kept = torch.rand(len(told), 1, generator=generator, device=told.device) >= FORGET
    return torch.cat([told[:, :1], told[:, 1:] * kept], 1)
