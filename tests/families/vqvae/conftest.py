"""A tiny VQ-VAE with both priors, untrained but for its codebook, and slices of phantoms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.engine.task import Draws
from napari_mrgen.families.vqvae.config import TINY, VqVaeConfig
from napari_mrgen.families.vqvae.networks import autoencoder, prior
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference
from napari_mrgen.samples import brain
from napari_mrgen.volume import Volume

DCGAN = TINY.with_values({"prior": "dcgan"})


@pytest.fixture(scope="session")
def head() -> Volume:
    return brain(3)[0]


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("heads")
    for seed in range(3):
        nifti.write(brain(seed)[0], folder / f"{seed}.nii.gz")
    references = tuple(Reference(Path(folder / f"{seed}.nii.gz"), str(seed)) for seed in range(3))
    return Inputs({"slices": references}, Split(("0", "1"), ("2",)))


def build(config: VqVaeConfig, seed: int = 0) -> dict[str, nn.Module]:
    """Build all networks; the codebook has seen some noise."""
    torch.manual_seed(seed)
    networks = {**autoencoder(config), **prior(config)}
    draws = Draws(("build",))
    for step in range(4):
        images = torch.rand(4, 1, config.size, config.size, generator=draws(step))
        networks["codebook"](networks["encoder"](images), draws("codes", step))
    return {name: network.eval().requires_grad_(False) for name, network in networks.items()}


@pytest.fixture(scope="session")
def tiny() -> dict[str, nn.Module]:
    return build(TINY)


@pytest.fixture(scope="session")
def tiny_gan() -> dict[str, nn.Module]:
    return build(DCGAN)
