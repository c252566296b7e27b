"""The fourth axis is time unless something says otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti, plugin
from napari_mrgen.io.find import find


def save(path: Path, frames: int = 4, intent: str | int = "none", unit: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(0).integers(0, 99, (6, 5, 4, frames)).astype(np.int16)
    image = nib.Nifti1Image(array, np.diag([2, 2, 3, 1.0]))
    image.header.set_intent(intent)
    image.header["xyzt_units"] = 2 + unit
    nib.save(image, path)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_task-rest_bold", "sub-01_cine", "patient001_4d", "perfusion", "scan", "dti_cine",
        "sub-01_acq-dwi_bold",
    ],
)  # fmt: skip
def test_time(name: str, tmp_path: Path) -> None:
    assert nifti.info(save(tmp_path / f"{name}.nii")).axes == "tzyx"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("sub-01_dwi", "diffusion"), ("sub-01_MEGRE", "echoes"), ("dti_V1", "diffusion"),
        ("sub-01_magnitude", "field map"), ("p1_cest", "frequency"), ("p1_multiecho", "echoes"),
        ("sub-01_label-GM_probseg", "tissue"),
    ],
)  # fmt: skip
def test_names(name: str, what: str, tmp_path: Path) -> None:
    seen = nifti.info(save(tmp_path / f"{name}.nii.gz"))
    assert seen.axes == "czyx"
    assert what in seen.doubts[-1]


@pytest.mark.parametrize(("unit", "what"), [(32, "Hz"), (40, "ppm"), (48, "radians")])
def test_units(unit: int, what: str, tmp_path: Path) -> None:
    assert what in nifti.info(save(tmp_path / "a.nii", unit=unit)).doubts[-1]
    assert nifti.info(save(tmp_path / "sub-1_dwi.nii", unit=8)).axes == "tzyx", "it has a clock"


@pytest.mark.parametrize("intent", ["vector", "symmetric matrix", "displacement vector"])
def test_intents(intent: str, tmp_path: Path) -> None:
    assert nifti.info(save(tmp_path / "a.nii", 3, intent)).axes == "czyx"


@pytest.mark.parametrize("table", ["a.bval", "a.bvec", "bvals"])
def test_b_values_beside_it(table: str, tmp_path: Path) -> None:
    (tmp_path / table).write_text("0 1000 1000 1000\n")
    assert "b-values" in nifti.info(save(tmp_path / "a.nii.gz")).doubts[-1]


@pytest.mark.parametrize("key", ["modality", "channel_names"])
@pytest.mark.parametrize("listed", [True, False])
def test_channels_by_dataset_json(key: str, listed: bool, tmp_path: Path) -> None:
    names = ["FLAIR", "T1w", "t1gd", "T2w"]
    values = {key: names if listed else {str(i): name for i, name in enumerate(names)}}
    (tmp_path / "dataset.json").write_text(json.dumps(values))
    path = save(tmp_path / "imagesTr" / "BRATS_001.nii.gz")
    assert "channels (FLAIR, T1w, t1gd, T2w" in nifti.info(path).doubts[-1]
    with pytest.raises(MrgenError, match=r"BRATS_001.nii.gz: Its fourth axis is not time"):
        find(tmp_path, ("tzyx",))
    cine = save(tmp_path / "imagesTr" / "long.nii.gz", frames=9)
    assert nifti.info(cine).axes == "tzyx", "as many as there are channels, no more"
    (tmp_path / "dataset.json").write_text(json.dumps({key: {"0": "cine"}}))
    assert nifti.info(path).axes == "tzyx"


def test_channels_open_with_a_slider_and_are_saved_as_they_were(tmp_path: Path) -> None:
    path = save(tmp_path / "sub-01_dwi.nii")
    (layer,) = plugin.read_layers(str(path))
    assert layer[1]["axis_labels"] == ("c", "z", "y", "x")
    assert layer[1]["units"][0] == "channel"
    plugin.write_nifti(str(tmp_path / "again.nii"), [layer])
    assert (tmp_path / "again.nii").read_bytes() == path.read_bytes()
    moved = {**layer[1], "scale": tuple(2 * length for length in layer[1]["scale"])}
    plugin.write_nifti(str(tmp_path / "changed.nii"), [(layer[0], moved, layer[2])])
    assert nifti.read(tmp_path / "changed.nii").axes == "czyx"
