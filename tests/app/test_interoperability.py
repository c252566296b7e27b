"""What is written lies at the same place in the world for nibabel and SimpleITK, with its values.

A volume here, a scan, labels that were drawn on it, a prediction and a translation.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from napari.components import ViewerModel
from napari.layers import Layer
from nibabel.affines import apply_affine

from napari_mrgen.app.generate import LocalGenerator
from napari_mrgen.io import plugin
from napari_mrgen.io.nifti import read
from napari_mrgen.volume import Volume
from tests.service.conftest import write_model

TILTS = {"tilted": (20, 14, 3), "double-oblique": (55, -38, 10), "left-handed": (20, -14, 30)}


def save_scan(path: Path, tilt: str, frames: int = 1, size: int = 32) -> Path:
    """Write an oblique scan with nibabel: smooth, so that no two places look alike."""
    about = np.eye(3)
    for (a, b), angle in zip(((1, 2), (0, 2), (0, 1)), np.radians(TILTS[tilt]), strict=True):
        turn = np.eye(3)
        turn[[a, b], [a, b]] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        about = about @ turn
    affine = np.eye(4)
    spacing = (1.5, 1.5, 8) if frames > 1 else (2, 2.5, 3)
    affine[:3, :3] = about @ np.diag(spacing)
    affine[:3, 0] *= -1 if tilt == "left-handed" else 1
    affine[:3, 3] = (-20, -35, 12)
    shape = (size, size - 4, 3 if frames > 1 else size - 8, *([frames] if frames > 1 else []))
    data = np.random.default_rng(3).integers(1, 400, shape).astype(np.int16)
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    if frames > 1:
        image.header["pixdim"][4] = 0.04
    nib.save(image, path)
    return path


def places(path: Path, indices: np.ndarray) -> np.ndarray:
    """Return where stored voxels lie, RAS mm: by nibabel, and the same by SimpleITK."""
    by_nibabel = apply_affine(nib.load(path).affine, indices)
    image = sitk.ReadImage(str(path))
    rest = [0.0] * (image.GetDimension() - 3)
    by_itk = [
        image.TransformContinuousIndexToPhysicalPoint([*map(float, index), *rest])[:3]
        for index in indices
    ]
    np.testing.assert_allclose(np.array(by_itk) * (-1, -1, 1), by_nibabel, atol=1e-3)
    values = sitk.GetArrayFromImage(image).T
    np.testing.assert_array_equal(values, np.asanyarray(nib.load(path).dataobj))
    return by_nibabel


def corners(path: Path) -> np.ndarray:
    shape = nib.load(path).shape[:3]
    return np.array([*np.ndindex(2, 2, 2)]) * (np.array(shape) - 1)


def assert_on_the_voxels_of(path: Path, scan: Path) -> None:
    """Check that the stored voxels of both files lie at the same places."""
    assert nib.load(path).shape[:3] == nib.load(scan).shape[:3]
    np.testing.assert_allclose(places(path, corners(path)), places(scan, corners(scan)), atol=1e-3)


@pytest.mark.parametrize("tilt", TILTS)
@pytest.mark.parametrize("frames", [1, 3])
def test_an_image_and_labels_drawn_on_it(tilt: str, frames: int, tmp_path: Path) -> None:
    scan = save_scan(tmp_path / "scan.nii.gz", tilt, frames)
    viewer = ViewerModel()
    image = Layer.create(*plugin.read_layers(str(scan))[0])
    viewer.add_layer(image)
    brighter = Layer.create(image.data + 1, {**image.as_layer_data_tuple()[1]}, "image")
    viewer.layers.selection = {image}
    viewer._new_labels()
    labels = viewer.layers[-1]
    labels.data[...] = image.data > 200
    for layer, name in ((brighter, "image.nii.gz"), (labels, "drawn_labels.nii.gz")):
        plugin.write_nifti(str(tmp_path / name), [layer.as_layer_data_tuple()])
        assert_on_the_voxels_of(tmp_path / name, scan)
    stored = np.asanyarray(nib.load(scan).dataobj)
    found = np.asanyarray(nib.load(tmp_path / "drawn_labels.nii.gz").dataobj)
    np.testing.assert_array_equal(found > 0, stored > 200)


@pytest.mark.parametrize("tilt", TILTS)
def test_a_prediction(tilt: str, tmp_path: Path) -> None:
    scan = save_scan(tmp_path / "cine.nii.gz", tilt, frames=14)
    model = write_model("frame_prediction", tmp_path / "m.safetensors")
    results = generated(model, cine=scan, frames=2)
    plugin.write_nifti(str(tmp_path / "next.nii.gz"), [plugin.to_layer(results)])
    assert_on_the_voxels_of(tmp_path / "next.nii.gz", scan)
    header = sitk.ReadImage(str(tmp_path / "next.nii.gz"))
    assert header.GetSpacing()[3] == pytest.approx(0.04)
    assert "synthetic" in header.GetMetaData("descrip")


@pytest.mark.parametrize("tilt", TILTS)
def test_a_translation(tilt: str, tmp_path: Path) -> None:
    scan = save_scan(tmp_path / "a_T1w.nii.gz", tilt)
    model = write_model("cyclegan", tmp_path / "m.safetensors")
    made = generated(model, t1=scan)
    path = tmp_path / "made.nii.gz"
    plugin.write_nifti(str(path), [plugin.to_layer(made)])
    assert_on_the_voxels_of(path, scan)
    np.testing.assert_array_equal(read(path).array, made.array)


def generated(model: Path, **given: object) -> Volume:
    generator = LocalGenerator.load(model, "cpu")
    inputs = {role: value for role, value in given.items() if isinstance(value, Path)}
    settings = {name: value for name, value in given.items() if name not in inputs}
    config = generator.family.generate_config.parse(settings)
    return next(iter(generator.generate(inputs, config)))
