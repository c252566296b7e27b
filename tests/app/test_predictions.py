"""What lies beside a job's results: what went in, and what should have come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_mrgen.app.jobs import Job
from napari_mrgen.app.predictions import predict
from napari_mrgen.app.result_file import read_results
from napari_mrgen.engine.control import Control
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
