"""What lies beside a job's results: what went in, and what should have come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_mrgen.app.jobs import Job
from napari_mrgen.app.predictions import predict
from napari_mrgen.app.result_file import read_results
from napari_mrgen.engine.control import Control
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from tests.service.conftest import write_model

PARTS = {"input", "result", "truth"}


@pytest.mark.parametrize("settings", [{}, {"beside": False}])
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
    assert list(predict(job(**first), Control()))  # As it is, it is gone on with.
    with pytest.raises(MrgenError, match=r"predictions holds results of another .*; remove it"):
        list(predict(job(**{**first, **change}), Control()))
