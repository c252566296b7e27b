from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from napari_mrgen.app.info import describe
from napari_mrgen.errors import MrgenError


def test_a_scan(hearts: Path) -> None:
    facts = describe(hearts / "heart-1.nii.gz")
    assert facts["kind"] == "scan"
    assert facts["axes"] == "tzyx"
    assert facts["shape"] == [14, 2, 40, 40]
    assert facts["frame_interval_s"] > 0


def test_a_folder(hearts: Path) -> None:
    facts = describe(hearts)
    assert (facts["kind"], facts["subjects"]) == ("folder", 3)


def test_a_run_and_its_model(trained: Path) -> None:
    facts = describe(trained)
    assert (facts["kind"], facts["status"]) == ("run", "finished")
    assert facts["model"] == describe(trained / "model.safetensors")
    assert facts["model"]["family"] == "frame_prediction"
    json.dumps(facts)


def test_a_scan_without_times_says_so(mrgen_data: Path) -> None:
    cine = mrgen_data / "acdc-sample/training/patient090/patient090_4d.nii.gz"
    facts = describe(cine)
    assert facts["frame_interval_s"] is None
    assert any("frame times" in note for note in facts["notes"])
    assert facts["info"]["ed_frame"] == 3


def test_a_slice_has_no_size_in_mm(tmp_path: Path) -> None:
    Image.new("L", (8, 6)).save(tmp_path / "a.png")
    (tmp_path / "participants.csv").write_text("id,age\na,30\n", "utf-8")
    facts = describe(tmp_path / "a.png")
    assert (facts["shape"], facts["spacing_mm"]) == ([1, 6, 8], None)
    assert facts["covariates"] == {"age": 30.0}


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MrgenError, match="check the path"):
        describe(tmp_path / "nowhere")
