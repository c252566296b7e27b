"""What lies beside a job's results: what went in, and what should have come out."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_mrgen import families
from napari_mrgen.app.jobs.file import Job
from napari_mrgen.app.jobs.predict import predict, read_results
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.run.folder import RunOptions, create
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Volume
from tests.service.conftest import write_model

PARTS = {"input", "result", "truth"}


@pytest.mark.parametrize("settings", [{}, {"include_inputs": False}])
def test_of_a_simulated_scan_the_cine_is_the_truth(
    settings: dict[str, bool], hearts: Path, tmp_path: Path
) -> None:
    cine = hearts / "heart-1.nii.gz"
    job = Job(
        name="job", task="predict", model=write_model("reconstruction", tmp_path / "m.safetensors"),
        inputs={"cine": cine}, settings=settings, out=tmp_path / "job", device="cpu",
    )  # fmt: skip
    assert list(predict(job, Control()))
    found = {part: cases["heart-1"] for part, cases in
             read_results(job.out / "predictions" / "result.h5").items()}  # fmt: skip
    given = nifti.read(cine).array
    if settings:
        assert found.keys() == PARTS - {"truth"}
        np.testing.assert_array_equal(found["input"], given)
        return
    assert found.keys() == PARTS
    np.testing.assert_array_equal(found["truth"], given)
    assert found["input"].shape == given.shape
    assert not np.allclose(found["input"], given)


@pytest.mark.parametrize("apart_mm", [0.0, 30.0])
def test_a_model_of_one_direction_translates_what_it_can(apart_mm: float, tmp_path: Path) -> None:
    """The other contrast is the truth, where it lies on the same voxels."""
    run = tmp_path / "run"
    write_model("cyclegan", run / "model.safetensors", direction="t2 to t1")
    values = np.random.default_rng(0).random((20, 20, 20), np.float32)
    references = {}
    for role, offset in (("t1", apart_mm), ("t2", 0.0)):
        affine = np.diag([2.0, 2.0, 2.0, 1.0])[:, [2, 1, 0, 3]]
        affine[0, 3] = offset
        path = tmp_path / f"{role}.nii"
        nifti.write(Volume(values, "zyx", affine), path)
        references[role] = (Reference(path, "a"),)
    config = families.get("cyclegan").preset("tiny").with_values({"direction": "t2 to t1"})
    create(run, RunOptions("cyclegan", "32-true"), config, Inputs(references, Split((), ("a",))))
    job = Job(name="job", task="predict", model=run, out=tmp_path / "job", device="cpu")
    assert list(predict(job, Control()))
    found = read_results(job.out / "predictions" / "result.h5")
    (made,) = found["result"].values()
    assert made.shape == values.shape
    assert ("truth" in found) is (apart_mm == 0)


@pytest.mark.parametrize(
    "change", [{"settings": {"spokes": 5}}, {"inputs": {"cine": "heart-2.nii.gz"}}]
)
def test_predictions_of_another_kind_are_to_be_removed(
    change: dict[str, Any], hearts: Path, tmp_path: Path
) -> None:
    def job(inputs: dict[str, str], **changes: Any) -> Job:
        return Job(
            name="job", task="predict", model=model, out=tmp_path / "job", device="cpu",
            inputs={role: hearts / name for role, name in inputs.items()}, **changes,
        )  # fmt: skip

    model = write_model("reconstruction", tmp_path / "m.safetensors")
    first = {"inputs": {"cine": "heart-1.nii.gz"}}
    assert list(predict(job(**first), Control()))
    results = tmp_path / "job" / "predictions" / "result.h5"
    written = results.stat().st_mtime_ns
    assert list(predict(job(**first), Control()))  # As it is, it is left alone.
    assert results.stat().st_mtime_ns == written
    with pytest.raises(MrgenError, match=r"predictions holds results of another .*; remove it"):
        list(predict(job(**{**first, **change}), Control()))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_not_utf8(hearts: Path, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for number, name in enumerate((b"caf\xe9.nii.gz", b"\xd0\xc4\xd4\xe0\n1.nii.gz"), 1):
        target = os.fsencode(scans) + b"/" + name
        shutil.copyfile(hearts / f"heart-{number}.nii.gz", target)
    model = write_model("frame_prediction", tmp_path / "m.safetensors")
    job = Job(
        name="job", task="predict", model=model, inputs={"cine": scans},
        settings={"frames": 2}, out=tmp_path / "job", device="cpu",
    )  # fmt: skip
    assert list(predict(job, Control()))
    found = read_results(job.out / "predictions" / "result.h5")
    assert {*found["result"]} == {"caf\\xe9", "\\xd0\\xc4\\xd4\\xe0\\n1"}
    made = next((job.out / "predictions").glob("caf*.nii.gz"))
    provenance = nifti.read(made).provenance
    assert provenance is not None
    assert os.fsencode(provenance["source"]["cine"]["path"]).endswith(b"caf\xe9.nii.gz")


def test_samples_do_not_replace_json_of_the_user(tmp_path: Path) -> None:
    model = write_model("dcgan", tmp_path / "m.safetensors")
    job = Job(name="job", task="predict", model=model, out=tmp_path / "job", device="cpu")
    note = job.out / "predictions" / "samples.json"
    note.parent.mkdir(parents=True)
    note.write_text("{}")
    with pytest.raises(MrgenError, match="was not made by this program"):
        list(predict(job, Control()))
    assert note.read_text() == "{}"
    note.unlink()
    assert list(predict(job, Control()))
    assert len(list(predict(job, Control()))) == 1  # It is loaded, and nothing drawn anew.
