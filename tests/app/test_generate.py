from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mrgen import families
from napari_mrgen.app.generate import collect, generate
from napari_mrgen.app.outputs import save
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import GenerateConfig
from napari_mrgen.engine.run.model_header import hash_file
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.samples import brain
from napari_mrgen.volume import Volume


def config(**values: object) -> GenerateConfig:
    return families.get("frame_prediction").generate_config.parse({"frames": 3, **values})


@pytest.fixture
def cine(hearts: Path) -> Path:
    return hearts / "heart-1.nii.gz"


def test_a_result_says_what_made_it(trained: Path, cine: Path) -> None:
    (result,) = generate(trained, {"cine": cine}, config(seed=5))
    record = result.provenance
    assert record is not None
    assert record["synthetic"] is True
    assert record["seed"] == 5
    assert record["model"]["sha256"] == hash_file(trained / "model.safetensors")
    assert record["source"]["cine"]["path"] == str(cine)
    assert record["source"]["cine"]["subject"] == "heart-001", "as the file itself says"
    assert record["configuration"]["frames"] == 3
    json.dumps(record)


def test_a_result_of_a_result_says_what_made_itself(
    trained: Path, cine: Path, tmp_path: Path
) -> None:
    (first,) = generate(trained, {"cine": cine}, config(seed=5, frames=8))
    save(first, tmp_path / "next.nii.gz")
    assert nifti.read(tmp_path / "next.nii.gz").provenance == first.provenance
    for source in (first, tmp_path / "next.nii.gz"):
        (second,) = generate(trained, {"cine": source}, config(seed=6))
        assert second.provenance is not None
        assert second.provenance["seed"] == 6


def test_a_path_and_its_volume_give_the_same(trained: Path, cine: Path) -> None:
    (one,) = generate(trained, {"cine": cine}, config())
    (two,) = generate(trained / "model.safetensors", {"cine": nifti.read(cine)}, config())
    np.testing.assert_array_equal(one.array, two.array)


def test_the_place_survives_saving(trained: Path, cine: Path, tmp_path: Path) -> None:
    (result,) = generate(trained, {"cine": cine}, config())
    save(result, tmp_path / "next.nii.gz")
    np.testing.assert_allclose(
        nifti.read(tmp_path / "next.nii.gz").affine, nifti.read(cine).affine, atol=1e-4
    )
    assert json.loads((tmp_path / "next.json").read_text())["synthetic"] is True


def test_a_stop_ends_it_between_two_results(trained: Path, cine: Path) -> None:
    control = Control()
    results = generate(trained, {"cine": cine}, config(samples=2), control=control)
    next(results)
    control.stop()
    assert list(results) == []


def test_the_callers_gradients_are_left_alone(trained: Path, cine: Path) -> None:
    for _ in generate(trained, {"cine": cine}, config(samples=2)):
        assert not torch.is_inference_mode_enabled()


def test_wrong_inputs_are_refused(trained: Path, hearts: Path) -> None:
    with pytest.raises(MrgenError, match="'cine' is missing"):
        next(generate(trained, {}, config()))
    with pytest.raises(MrgenError, match="must have the axes tzyx, got zyx"):
        next(generate(trained, {"cine": brain(0)[0]}, config()))
    with pytest.raises(MrgenError, match="takes one scan, got 3"):
        next(generate(trained, {"cine": hearts}, config()))


def test_blocks_of_samples_are_collected() -> None:
    def block(name: str, *indices: int) -> Volume:
        array = np.stack([np.full((1, 2, 2), index) for index in indices])
        samples = {"index": list(indices), "level": [index / 4 for index in indices]}
        return Volume(array, "nzyx", np.eye(4), name=name, samples=samples)

    plain = Volume(np.zeros((1, 2, 2)), "zyx", np.eye(4), name="a")
    found = list(collect([plain, plain, block("a", 0, 1), block("a", 2), block("b", 0)]))
    assert [volume.name for volume in found] == ["a", "a", "a", "b"]
    joined = found[2]
    assert joined.samples == {"index": [0, 1, 2], "level": [0, 0.25, 0.5]}
    assert joined.array[:, 0, 0, 0].tolist() == [0, 1, 2]
