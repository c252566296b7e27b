"""Sampling of brain slices (any number, at a level, or interpolated), and export of the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from napari_mrgen.data.slice_volumes import blocks, sample_conditions, sample_levels, sampled_volume
from napari_mrgen.data.slices import CONDITIONS
from napari_mrgen.engine.exportable import Exportable, Port
from napari_mrgen.engine.task import Draws, Networks
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.dcgan.config import DcganConfig, DcganGenerateConfig
from napari_mrgen.families.dcgan.networks import sample_images, slerp
from napari_mrgen.volume import Volume

NAME = "dcgan samples"


def sample_slices(
    networks: Networks,
    trained: DcganConfig,
    config: DcganGenerateConfig,
    inputs: Mapping[str, Volume],
    generator: torch.Generator,
    data: Mapping[str, Any],
) -> Iterator[Volume]:
    """Yield samples in blocks, or the movie of a latent interpolation.

    A sample follows from the seed and its index alone, so ``generator`` is not used.
    """
    del inputs, generator
    _check(trained, config)
    if config.walk:
        yield _walk(networks["generator"], trained, config, data)
        return
    for indices in blocks(config.samples):
        noise, conditions, columns = latents(trained, config, indices)
        images = sample_images(networks["generator"], noise, conditions, trained.size)
        samples = {"index": list(indices), **columns}
        yield sampled_volume(images, data, NAME, samples=samples)


def latents(
    trained: DcganConfig, config: DcganGenerateConfig, indices: Sequence[int]
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Return noise ``(n, latent)`` and conditions ``(n, 4)`` of samples, and these as a table."""
    draws = Draws((config.seed, "sample"))
    noise = torch.stack([torch.randn(trained.latent, generator=draws(i)) for i in indices])
    conditions, columns = sample_conditions(
        sample_levels(indices, config.level), config.age, config.sex
    )
    if trained.condition == "none":
        columns = {}
    return config.truncation * noise, conditions, columns


def _walk(
    generator: nn.Module,
    trained: DcganConfig,
    config: DcganGenerateConfig,
    data: Mapping[str, Any],
) -> Volume:
    """Return a movie that interpolates from the first sample through each to the last."""
    noise, conditions, _ = latents(trained, config, range(max(2, config.samples)))
    places = torch.linspace(0, len(noise) - 1, config.walk)
    before = places.long().clamp(max=len(noise) - 2)
    share = (places - before)[:, None]
    between = slerp(noise[before], noise[before + 1], share)
    images = sample_images(
        generator, between, conditions[before].lerp(conditions[before + 1], share), trained.size
    )
    return sampled_volume(images, data, "dcgan interpolation", axes="tzyx")


def _check(trained: DcganConfig, config: DcganGenerateConfig) -> None:
    """Refuse conditions that the model was not trained with."""
    for name, value in (("level", config.level), ("age", config.age), ("sex", config.sex)):
        if value is not None and name not in trained.condition:
            msg = (
                f"This model was trained without {name} (condition: {trained.condition}); leave it "
                "empty, or train a model with it."
            )
            raise MrgenError(msg)


def generator_exports(
    networks: Mapping[str, nn.Module], trained: DcganConfig
) -> Iterator[Exportable]:
    """Yield the generator, for any number of slices."""
    yield Exportable(
        name="generator",
        module=_AtFullSize(networks["generator"], trained.size),
        inputs=(
            Port("noise", ("n", trained.latent), low=-2.0, high=2.0),
            Port("conditions", ("n", CONDITIONS)),
        ),
        output="slices",
        sizes=({"n": 2}, {"n": 1}, {"n": 5}),
        help="Slices from normal noise and conditions: level, age in centuries, sex, whether the "
        "age is known.",
    )


class _AtFullSize(nn.Module):
    """The generator at the full resolution."""

    def __init__(self, generator: nn.Module, size: int) -> None:
        super().__init__()
        self.generator, self.size = generator, size

    def forward(self, noise: Tensor, conditions: Tensor) -> Tensor:
        return self.generator(noise, conditions, self.size)  # type: ignore[no-any-return]
