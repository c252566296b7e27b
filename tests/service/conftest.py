"""Small models of every family that were not trained, and a real server of one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_mrgen import families
from napari_mrgen.engine.run.model import save_model
from napari_mrgen.engine.run.model_header import Header
from napari_mrgen.engine.weights import DefaultGenerator
from napari_mrgen.io import nifti
from napari_mrgen.samples import beating_heart

DATA: dict[str, dict[str, Any]] = {
    "frame_prediction": {"shape": [2, 32, 32]},
    "dcgan": {"shape": [1, 64, 64], "plane": "axial", "spacing_mm": [4.0, 2.0, 2.0]},
    "vqvae": {"shape": [1, 32, 32], "plane": "axial", "spacing_mm": [4.0, 2.0, 2.0]},
    "reconstruction": {"shape": [9, 1, 32, 32]},
    "cyclegan": {
        "shape": [16, 16, 16],
        "scaling": {name: {"offset": 0.0, "scale": 900.0} for name in ("t1", "t2")},
    },
}
"""What the training data of each told of itself."""

CHANGES: dict[str, dict[str, object]] = {"reconstruction": {"network": "unet2d1d", "depth": 3}}
"""Of the preset, where its network is not what is wanted."""


def write_model(name: str, path: Path, preset: str = "tiny", **changes: object) -> Path:
    """Write a model whose weights are drawn, and do something: none of them is zero."""
    family = families.get(name)
    config = family.preset(preset).with_values(changes)
    generator = torch.Generator().manual_seed(0)
    with DefaultGenerator(generator):
        networks = family.networks(config, tuple(DATA[name]["shape"]))
    for network in networks.values():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.02 * torch.randn(tensor.shape, generator=generator))
    header = Header(
        family=name,
        stage="test",
        step=0,
        config=config.model_dump(mode="json"),
        data=DATA[name],
        networks=tuple(networks),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, networks, header)
    return path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the model file of a family."""
    folder = tmp_path_factory.mktemp("models")

    def model(name: str) -> Path:
        path = folder / f"{name}.safetensors"
        return path if path.exists() else write_model(name, path, **CHANGES.get(name, {}))

    return model


@pytest.fixture(scope="session")
def cine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cine") / "heart.nii.gz"
    nifti.write(beating_heart(1, frames=8, slices=2, size=32)[0], path)
    return path


@dataclass(frozen=True)
class Served:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    model: Path
    url: str
    token: str
    log: Path

    @property
    def address(self) -> str:
        return f"{self.url}/?token={self.token}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@contextmanager
def serving(model: Path, *options: object) -> Iterator[Served]:
    """Start the real program, and end it."""
    command = [sys.executable, "-m", "napari_mrgen", "serve", model, "--port", 0, "--json"]
    environment = {name: v for name, v in os.environ.items() if name != "MRGEN_TOKEN"}
    log = model.with_name(f"{model.stem}-{time.monotonic_ns()}.log")
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*map(str, command), *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**environment, "OMP_NUM_THREADS": "1"},
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        url, _, token = json.loads(line)["address"].partition("/?token=")
        yield Served(process, model, url, token, log)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def served(models: Callable[[str], Path]) -> Iterator[Served]:
    """A service that predicts frames, with room for 50 and small uploads."""
    with serving(models("frame_prediction"), "--max-upload", 1, "--max-voxels", 200_000) as found:
        yield found
