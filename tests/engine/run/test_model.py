"""Model files: whole models, safe to open from comparable_pairs."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit
from napari_mrgen.engine.run.model import load_model, load_weights, put_weights
from napari_mrgen.engine.run.model_header import KEY, hash_file, read_header
from napari_mrgen.errors import MrgenError
from tests.engine import toy


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    config = toy.ToyConfig(steps=3, width=6)
    events = fit(
        toy.FAMILY, config, toy.inputs(folder / "in"), folder / "run", Control(), device="cpu"
    )
    list(events)
    return folder / "run"


@pytest.fixture
def model(run_dir: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "model.safetensors"
    copy.write_bytes((run_dir / "model.safetensors").read_bytes())
    return copy


def rewrite(path: Path, **changes: Any) -> None:
    """Change fields of the header; the weights stay."""
    header = json.loads(_metadata(path)) | changes
    save_file(load_file(path), path, {KEY: json.dumps(header)})


def _metadata(path: Path) -> str:
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    text: str = json.loads(data[8 : 8 + size])["__metadata__"][KEY]
    return text


def test_one_file_is_a_whole_model(model: Path, run_dir: Path) -> None:
    loaded = load_model(model, toy.lookup)
    assert loaded.family == "toy"
    assert loaded.config == toy.ToyConfig(steps=3, width=6)
    assert loaded.hash == hash_file(model) == load_model(run_dir, toy.lookup).hash
    assert not any(network.training for network in loaded.networks.values())
    weights = load_weights(model)["predictor"]
    assert all(
        torch.equal(weights[k], v) for k, v in loaded.networks["predictor"].state_dict().items()
    )


def test_it_says_what_it_was_made_from(model: Path) -> None:
    header = read_header(model)
    assert header.data["scaling"] == {"upper": 1.0}
    assert header.subjects == 3
    assert len(header.split) == 32
    assert "terms" in header.licence


def test_the_header_is_read_without_torch(model: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from napari_mrgen.engine.run.model_header import read_header\n"
        "from napari_mrgen.engine.run import folder, journal\n"
        f"read_header(Path({str(model)!r}))\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_cut_file_is_refused_at_every_length(model: Path) -> None:
    data = model.read_bytes()
    for length in (0, 1, 7, 8, 100, len(data) // 2, len(data) - 1):
        model.write_bytes(data[:length])
        with pytest.raises(MrgenError, match="or it is damaged"):
            load_model(model, toy.lookup)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 99}, "another version"),
        ({"config": {"width": 64}}, "does not fit: expected"),
        ({"config": {"width": -1}}, "width"),
        ({"config": {"evil": "import os"}}, "no setting 'evil'"),
        ({"config": []}, "is not a model"),
        ({"data": {}}, "can be built from its header"),
        ({"data": {"shape": "huge"}}, "can be built from its header"),
        ({"networks": ["predictor", "ghost"]}, "no weights of ghost"),
        ({"networks": []}, "no weights of anything"),
        ({"family": 5}, "is not a model"),
    ],
)
def test_a_hostile_header_is_one_sentence(model: Path, changes: dict[str, Any], said: str) -> None:
    rewrite(model, **changes)
    with pytest.raises(MrgenError, match=said):
        load_model(model, toy.lookup)


def test_a_header_cannot_ask_for_more_memory_than_the_file_has(model: Path) -> None:
    """10^12 numbers would be 4 TB: the shapes are compared before anything is built."""
    rewrite(model, config={"ballast": 10**12, "width": 6})
    with pytest.raises(MrgenError, match="does not fit"):
        load_model(model, toy.lookup)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(MrgenError, match="is not a model"):
        load_model(path, toy.lookup)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MrgenError, match="no model yet"):
        read_header(tmp_path)
    with pytest.raises(MrgenError, match="is not there"):
        read_header(tmp_path / "model.safetensors")


def test_weights_of_another_shape_are_refused() -> None:
    small, large = toy.Predictor(2, 0), toy.Predictor(3, 0)
    with pytest.raises(MrgenError, match=r"body.bias \(3,\), got \(2,\)"):
        put_weights({"predictor": large}, {"predictor": small.state_dict()}, "small")
