"""A small model that translates, and small heads to translate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_mrgen import families
from napari_mrgen.engine.run.model import save_model
from napari_mrgen.engine.run.model_header import Header
from napari_mrgen.io import nifti
from napari_mrgen.volume import Volume


@pytest.fixture(scope="session")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of the family cyclegan that was not trained: it passes volumes on."""
    family = families.get("cyclegan")
    config = family.preset("tiny")
    networks = family.networks(config, (16, 16, 16))
    scaling = {"offset": 0.0, "scale": 900.0}
    header = Header(
        family="cyclegan",
        stage="translation",
        step=0,
        config=config.model_dump(mode="json"),
        data={"shape": [16, 16, 16], "scaling": {"t1": scaling, "t2": scaling}},
        networks=tuple(networks),
    )
    path = tmp_path_factory.mktemp("translator") / "model.safetensors"
    save_model(path, networks, header)
    return path


def write_head(path: Path, seed: int = 0, shape: tuple[int, int, int] = (16, 20, 18)) -> None:
    """Write a skull-stripped ellipsoid of noise, obliquely in the scanner."""
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    noise = np.random.default_rng(seed).uniform(50, 400, shape)
    array = np.where(np.linalg.norm(grid, axis=0) < 0.8, noise, 0).astype(np.float32)
    affine = np.array(
        [[0.3, 0.2, 7.0, 0], [0.1, -6.0, 0.2, 9], [5.0, 0.1, 0.4, seed], [0, 0, 0, 1]]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    nifti.write(Volume(array, "zyx", affine), path)
