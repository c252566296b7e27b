"""Draw brain slices: any number, at a level, or as a walk from one to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from napari_mrgen.data.slice_volumes import blocks, drawn, levels_of, told_to
from napari_mrgen.engine.task import Draws, Networks
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.dcgan.config import DcganConfig, DcganGenerateConfig
from napari_mrgen.families.dcgan.drawing import draw, slerp
from napari_mrgen.families.dcgan.scoring import score, sets
from napari_mrgen.volume import Volume

__all__ = ["generate", "score", "sets"]

NAME = "dcgan samples"


def generate(
    networks: Networks,
    trained: DcganConfig,
    config: DcganGenerateConfig,
    inputs: Mapping[str, Volume],
    generator: torch.Generator,
    data: Mapping[str, Any],
) -> Iterator[Volume]:
    """Yield samples in blocks, or the movie of a walk.

    A sample follows from the seed and its index alone, so ``generator`` is not drawn from.
    """
    del inputs, generator
    _check(trained, config)
    if config.walk:
        yield _walk(networks["generator"], trained, config, data)
        return
    for indices in blocks(config.samples):
        noise, told, columns = latents(trained, config, indices)
        images = draw(networks["generator"], noise, told, trained.size)
        samples = {"index": list(indices), **columns}
        yield drawn(images, data, NAME, samples=samples)


def latents(
    trained: DcganConfig, config: DcganGenerateConfig, indices: Sequence[int]
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Return noise ``(n, latent)`` of samples, what the network is told, and that as a table."""
    draws = Draws((config.seed, "sample"))
    noise = torch.stack([torch.randn(trained.latent, generator=draws(i)) for i in indices])
    told, columns = told_to(levels_of(indices, config.level), config.age, config.sex)
    if trained.condition == "none":
        columns = {}
    return config.truncation * noise, told, columns


def _walk(
    generator: nn.Module,
    trained: DcganConfig,
    config: DcganGenerateConfig,
    data: Mapping[str, Any],
) -> Volume:
    """Return a movie that starts at the first sample, passes each, and ends at the last."""
    noise, told, _ = latents(trained, config, range(max(2, config.samples)))
    places = torch.linspace(0, len(noise) - 1, config.walk)
    before = places.long().clamp(max=len(noise) - 2)
    share = (places - before)[:, None]
    between = slerp(noise[before], noise[before + 1], share)
    images = draw(generator, between, told[before].lerp(told[before + 1], share), trained.size)
    return drawn(images, data, "dcgan walk", axes="tzyx")


def _check(trained: DcganConfig, config: DcganGenerateConfig) -> None:
    """Refuse a wish that the model was not trained for."""
    for name, value in (("level", config.level), ("age", config.age), ("sex", config.sex)):
        if value is not None and name not in trained.condition:
            msg = (
                f"This model was trained without {name} (condition: {trained.condition}); leave it "
                "empty, or train a model with it."
            )
            raise MrgenError(msg)
