import numpy as np

from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.families.frame_prediction.config import PRESETS
from napari_mrgen.families.frame_prediction.training import preview_windows
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Volume

AFFINE = np.diag([1.25, 1.5, 9.0, 1.0])[:, [2, 1, 0, 3]]


def test_oddities_of_scans_and_of_series_are_named(tmp_path):
    values = np.random.default_rng(0).integers(0, 200, (16, 2, 32, 32)).astype(np.uint8)
    series = {"a": values, "b": values, "c": values[:7, ::-1], "d": values[:5]}
    for name, frames in series.items():
        nifti.write(Volume(frames, "tzyx", AFFINE), tmp_path / f"{name}.nii")
    references = tuple(Reference(tmp_path / f"{name}.nii", name) for name in series)
    split = Split(train=("a", "b"), test=("c", "d"))
    found = preview_windows(PRESETS["tiny"].config, Inputs({"cine": references}, split)).warnings
    assert found == (
        "b.nii: the same images as a.nii.",
        "c.nii: only 7 frames.",
        "d.nii: only 5 frames.",
        "d.nii: too short to test on, which takes a whole cardiac cycle or more than 5 frames.",
    )
