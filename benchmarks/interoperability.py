"""Where other programs find what is written: how far from one another, in mm.

    PYTHONPATH=. python benchmarks/interoperability.py

Writes oblique scans with nibabel, opens each in napari's viewer model, and saves through napari's
writers an image of it, labels drawn in *New labels*, a prediction of its cine and a translation of
its volume, by models with random weights. Then compares the centre of mass of each file, and the
corners of its voxel grid, as SimpleITK, MRtrix3 and the NIfTI library in C (that of FSL and AFNI)
give them, with nibabel; and the corners with those of the scan. Of these programs two are Debian's
packages ``mrtrix3`` and ``nifti-bin``; one that is not installed is left out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
from common import RESULTS
from napari.components import ViewerModel
from napari.layers import Layer
from nibabel.affines import apply_affine

from napari_mrgen.io import plugin
from tests.app.test_interoperability import TILTS, corners, generated, save_scan
from tests.service.conftest import write_model

RAS_OF_LPS = (-1, -1, 1)


def main() -> None:
    lines = [
        "# Where other programs find what is written",
        "",
        "`PYTHONPATH=. python benchmarks/interoperability.py`: largest distance of a centre of",
        "mass or a corner of the voxel grid from where nibabel finds it, and of the corners from",
        f"those of the scan. nibabel {nib.__version__}, SimpleITK {sitk.Version_VersionString()},",
        "MRtrix3 and the NIfTI library as in Debian 12; MRtrix3 prints six digits.",
        "",
        "| scan | written | from the scan's voxels | SimpleITK | MRtrix3 | NIfTI library |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for tilt in TILTS:
            for name, scan, path in written(Path(folder), tilt):
                apart = np.abs(by_nibabel(path)[1:] - by_nibabel(scan)[1:]).max()
                others = (by_itk(path), by_mrtrix(path), by_nifti_library(path))
                cells = [f"{apart:.1e} mm", *(distance(one, path) for one in others)]
                lines.append(f"| {tilt} | {name} | {' | '.join(cells)} |")
    print("\n".join(lines))
    (RESULTS / "interoperability.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def written(folder: Path, tilt: str) -> list[tuple[str, Path, Path]]:
    """Return what is compared: its name, the scan that it is of, and its file."""
    head = save_scan(folder / f"{tilt}_T1w.nii.gz", tilt)
    cine = save_scan(folder / f"{tilt}_cine.nii.gz", tilt, frames=14)
    files = []
    for scan in (head, cine):
        viewer = ViewerModel()
        image = Layer.create(*plugin.read_layers(str(scan))[0])
        viewer.add_layer(image)
        viewer.layers.selection = {image}
        viewer._new_labels()
        viewer.layers[-1].data[...] = image.data > 200
        changed = Layer.create(image.data + 1, {**image.as_layer_data_tuple()[1]}, "image")
        kind = "cine" if scan is cine else "volume"
        for name, layer in (("image", changed), ("labels", viewer.layers[-1])):
            files.append((f"{name} of a {kind}", scan, folder / f"{tilt}_{kind}_{name}.nii.gz"))
            plugin.write_nifti(str(files[-1][2]), [layer.as_layer_data_tuple()])
    for family, name, scan, given in (
        ("frame_prediction", "prediction", cine, {"cine": cine, "frames": 2}),
        ("cyclegan", "translation", head, {"t1": head}),
    ):
        model = write_model(family, folder / f"{family}.safetensors")
        files.append((name, scan, folder / f"{tilt}_{name}.nii.gz"))
        plugin.write_nifti(str(files[-1][2]), [plugin.to_layer(generated(model, **given))])
    return files


def distance(found: np.ndarray | None, path: Path) -> str:
    """Say how far a program's places are from nibabel's."""
    if found is None:
        return "not installed"
    return f"{np.linalg.norm(found - by_nibabel(path)[: len(found)], axis=1).max():.1e} mm"


def centre_index(values: np.ndarray) -> np.ndarray:
    values = values[..., 0] if values.ndim > 3 else values
    weights = values.astype(np.float64)
    sums = [np.tensordot(np.indices(values.shape)[axis], weights, 3) for axis in range(3)]
    return np.array(sums) / weights.sum()


def by_nibabel(path: Path) -> np.ndarray:
    """Return the centre of mass and the eight corners of the first frame, RAS mm."""
    image = nib.load(path)
    places = [centre_index(np.asanyarray(image.dataobj)), *corners(path)]
    return apply_affine(image.affine, places)


def by_itk(path: Path) -> np.ndarray:
    image = sitk.ReadImage(str(path))
    centre = centre_index(sitk.GetArrayFromImage(image).T)
    rest = [0.0] * (image.GetDimension() - 3)
    places = [
        image.TransformContinuousIndexToPhysicalPoint([*map(float, index), *rest])[:3]
        for index in (centre, *corners(path))
    ]
    return np.array(places) * RAS_OF_LPS


def by_mrtrix(path: Path) -> np.ndarray | None:
    """Return the centre of mass alone: MRtrix3 puts the axes into an order of its own.

    In the scanner, mrcentroid of version 3.0.3 leaves out the voxel size: the centre is asked for
    in voxels, and put there by the transform and the spacing that mrinfo gives.
    """
    if shutil.which("mrcentroid") is None:
        return None
    frame = path.with_name("frame.mif")
    extra = ["-coord", "3", "0", "-axes", "0,1,2"] if len(nib.load(path).shape) > 3 else []
    output_of("mrconvert", "-force", path, *extra, frame)
    voxels = numbers_in(output_of("mrcentroid", "-voxelspace", frame))
    spacing = numbers_in(output_of("mrinfo", "-spacing", frame))
    transform = numbers_in(output_of("mrinfo", "-transform", frame)).reshape(4, 4)
    return apply_affine(transform, [voxels * spacing])


def output_of(*command: str | Path) -> str:
    done = subprocess.run(
        [*map(str, command), "-quiet"], check=True, capture_output=True, text=True
    )
    return done.stdout


def numbers_in(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()])


def by_nifti_library(path: Path) -> np.ndarray | None:
    """Return the places by the sform, and check that the qform, where it is set, is the same."""
    if shutil.which("nifti_tool") is None:
        return None
    fields = {}
    for field in ("sto_xyz", "qto_xyz"):
        done = subprocess.run(
            ["nifti_tool", "-disp_nim", "-field", field, "-infiles", str(path)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        numbers = re.findall(r"-?\d+\.\d+(?:e[+-]\d+)?", done.stdout.split(field, 1)[1])
        fields[field] = np.array(numbers[:16], np.float64).reshape(4, 4)
    image = nib.load(path)
    if image.header["qform_code"]:
        np.testing.assert_allclose(fields["qto_xyz"], fields["sto_xyz"], atol=1e-3)
    centre = centre_index(np.asanyarray(image.dataobj))
    return apply_affine(fields["sto_xyz"], [centre, *corners(path)])


if __name__ == "__main__":
    main()
