"""What earlier versions wrote is read, and means the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from napari_mrgen import families
from napari_mrgen.app.jobs.file import read_jobs
from napari_mrgen.engine.run.model import load_model

FOLDER = Path(__file__).parent
FAMILIES = sorted(path.name for path in FOLDER.iterdir() if (path / "model-header.json").is_file())


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("preset", ["tiny", "quick", "base", "seed"])
def test_settings_of_every_preset_mean_the_same(name: str, preset: str) -> None:
    family = families.get(name)
    text = (FOLDER / name / f"{preset}.yaml").read_text(encoding="utf-8")
    config = family.train_config.from_yaml(text)
    assert config == family.preset(preset)
    assert family.train_config.from_yaml(config.to_yaml()) == config


@pytest.mark.parametrize("name", FAMILIES)
def test_settings_of_generation_mean_the_same(name: str) -> None:
    family = families.get(name)
    text = (FOLDER / name / "generate.yaml").read_text(encoding="utf-8")
    assert family.generate_config.from_yaml(text) == family.generate_config()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_file_loads(name: str, tmp_path: Path) -> None:
    """The header and the names of the weights are those of a file that was trained."""
    header = json.loads((FOLDER / name / "model-header.json").read_text(encoding="utf-8"))
    listed = json.loads((FOLDER / name / "weights.json").read_text(encoding="utf-8"))
    weights = {
        key: torch.ones(shape, dtype=getattr(torch, dtype))
        for key, (dtype, *shape) in listed.items()
    }
    path = tmp_path / "model.safetensors"
    save_file(weights, path, {"napari_mrgen": json.dumps(header)})
    model = load_model(path, families.get)
    assert model.family == name
    assert model.config == families.get(name).preset("tiny")
    loaded = {
        f"{network}/{key}": value
        for network, module in model.networks.items()
        for key, value in module.state_dict().items()
    }
    assert sorted(map(str, (v.shape for v in loaded.values()))) == sorted(
        map(str, (v.shape for v in weights.values()))
    )
    assert all(torch.equal(value, torch.ones_like(value)) for value in loaded.values())


def test_the_jobs_of_a_file_mean_the_same() -> None:
    jobs = {job.family: job for job in read_jobs(FOLDER / "jobs.yaml").jobs}
    assert sorted(map(str, jobs)) == FAMILIES
    for name, job in jobs.items():
        text = (FOLDER / str(name) / "job.yaml").read_text(encoding="utf-8")
        assert job.train_config() == families.get(str(name)).train_config.from_yaml(text)
