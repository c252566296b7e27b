"""Scores of generated slices as a set, beside real slices and baselines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.slice_volumes import real_set
from napari_mrgen.data.slices import SliceSet
from napari_mrgen.engine.task import Draws, Networks
from napari_mrgen.families.dcgan.config import DcganConfig
from napari_mrgen.families.dcgan.networks import sample_images
from napari_mrgen.families.dcgan.training import ROLE, slice_spec
from napari_mrgen.metrics.distributions import ImageSet
from napari_mrgen.metrics.matching import best_match
from napari_mrgen.metrics.scoreboard import Score
from napari_mrgen.metrics.sets import Sets, score_sets

MODEL = "this model"
MAX_SSIM = "max SSIM to trained slices (published metric)"
OVER_GOAL = "share over 0.6 (published goal)"
_GOAL = 0.6


def score_samples(networks: Networks, trained: DcganConfig, inputs: Inputs) -> Iterator[Score]:
    """Yield the metrics of generated slices, of real ones, and of baselines.

    The metric of the published system, the SSIM to the nearest slice of the *training* set at any
    level, stands beside them for comparison: the mean image passes it too.
    """
    result = sample_sets(networks, trained, inputs)
    published = {}
    if result.train is not None:
        mean = ImageSet(result.train.images.mean(0, keepdim=True))
        published = {
            name: _published_metric(images, result.train)
            for name, images in {**result.generated, "mean image": mean}.items()
        }
    for row in score_sets(result.generated, result.held_out, result.train):
        yield replace(row, values={**row.values, **published.get(row.method, {})})


def sample_sets(networks: Networks, trained: DcganConfig, inputs: Inputs) -> Sets:
    """Sample as many slices as there are held-out ones, with their conditions, beside real ones."""
    spec = slice_spec(trained)
    train, test = (SliceSet(scans, spec) for scans in (inputs.train(ROLE), inputs.test(ROLE)))
    held_out, chosen = real_set(test)
    generator = Draws((trained.seed, "score"))()
    noise = torch.randn(len(held_out), trained.latent, generator=generator)
    images = sample_images(networks["generator"], noise, test.conditions[chosen], trained.size)
    generated = {MODEL: ImageSet(images, levels=held_out.levels)}
    return Sets(generated, held_out, real_set(train)[0] if len(train) else None)


def _published_metric(images: ImageSet, train: ImageSet) -> dict[str, float]:
    nearest, _ = best_match(ImageSet(images.images), ImageSet(train.images))
    return {MAX_SSIM: float(nearest.mean()), OVER_GOAL: float((nearest > _GOAL).float().mean())}
