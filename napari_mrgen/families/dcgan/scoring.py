"""How good drawn slices are, as a set, beside real ones and the trivial methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.sets import real_set
from napari_mrgen.data.slices import SliceSet
from napari_mrgen.engine.task import Draws, Networks
from napari_mrgen.families.dcgan.config import DcganConfig
from napari_mrgen.families.dcgan.drawing import draw
from napari_mrgen.families.dcgan.training import ROLE, slice_spec
from napari_mrgen.metrics.image_set import ImageSet
from napari_mrgen.metrics.matching import best_match
from napari_mrgen.metrics.scoreboard import Score
from napari_mrgen.metrics.sets import Sets, judge_sets

MODEL = "this model"
LEARNT = "max SSIM to trained slices (the seed's measure)"
PASSED = "share over 0.6 (the seed's goal)"
_GOAL = 0.6


def score(networks: Networks, trained: DcganConfig, inputs: Inputs) -> Iterator[Score]:
    """Yield the figures of drawn slices, of real ones, and of the trivial methods.

    The seed's own measure, the similarity to the nearest slice of the *training* set at any level,
    stands beside them for what it is: the mean image passes it too.
    """
    found = sets(networks, trained, inputs)
    of_seed = {}
    if found.train is not None:
        mean = ImageSet(found.train.images.mean(0, keepdim=True))
        of_seed = {
            name: _measure_of_seed(images, found.train)
            for name, images in {**found.made, "mean image": mean}.items()
        }
    for row in judge_sets(found.made, found.held_out, found.train):
        yield replace(row, values={**row.values, **of_seed.get(row.method, {})})


def sets(networks: Networks, trained: DcganConfig, inputs: Inputs) -> Sets:
    """Draw as many slices as there are held-out ones, told the same, beside the real ones."""
    spec = slice_spec(trained)
    train, test = (SliceSet(found, spec) for found in (inputs.train(ROLE), inputs.test(ROLE)))
    held_out, chosen = real_set(test)
    generator = Draws((trained.seed, "score"))()
    noise = torch.randn(len(held_out), trained.latent, generator=generator)
    images = draw(networks["generator"], noise, test.told[chosen], trained.size)
    made = {MODEL: ImageSet(images, levels=held_out.levels)}
    return Sets(made, held_out, real_set(train)[0] if len(train) else None)


def _measure_of_seed(images: ImageSet, train: ImageSet) -> dict[str, float]:
    nearest, _ = best_match(ImageSet(images.images), ImageSet(train.images))
    return {LEARNT: float(nearest.mean()), PASSED: float((nearest > _GOAL).float().mean())}
