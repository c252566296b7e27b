"""Arrays of NumPy and files of BART and fastMRI; what a window does with them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import plugin
from napari_mrgen.io.raw_data import kspace
from napari_mrgen.kspace import KSpace
from tests.io.kspace_files import coil_images, header, transform, write_bart

IMAGES = coil_images((2, 3, 10, 12), coils=4)
"""(t, z, c, y, x)"""
TRUE = np.linalg.norm(IMAGES, axis=2)


@pytest.mark.parametrize("axes", ["yx", "cyx", "tcyx", "tzcyx"])
def test_an_array_of_each_number_of_axes(tmp_path: Path, axes: str) -> None:
    taken = tuple(slice(None) if axis in axes else 0 for axis in "tzcyx")
    np.save(tmp_path / "scan.npy", transform(IMAGES)[taken])
    assert kspace.is_kspace(tmp_path / "scan.npy")
    found = kspace.read_kspace(tmp_path / "scan.npy")
    assert found.samples.shape == tuple(
        size if axis in axes else 1 for axis, size in zip("tzcyx", IMAGES.shape, strict=True)
    )
    volume = kspace.to_image(found)
    assert volume.axes == ("tzyx" if "t" in axes else "zyx")
    assert volume.array.dtype == np.float32
    coils = slice(None) if "c" in axes else slice(1)
    true = np.linalg.norm(IMAGES[:, :, coils], axis=2)[taken[:2]]
    np.testing.assert_allclose(volume.array.squeeze(), true, atol=1e-5)


def test_the_scan_of_the_shared_data(mrgen_data: Path) -> None:
    path = mrgen_data / "kspace" / "cartesian_ksp.npy"
    found = kspace.read_kspace(path)
    assert (found.coils, found.shape) == (8, (230, 180))
    assert found.sampled.mean() == pytest.approx(0.12, abs=0.01)
    image = kspace.to_image(found).array[0]
    # A head lies in the middle, air around it.
    assert image[60:170, 50:130].mean() > 3 * image[:20].mean()


def test_a_grid_wider_than_the_image_loses_its_margins() -> None:
    wide = np.zeros((1, 1, 2, 10, 24), complex)
    wide[..., 6:18] = IMAGES[:1, :1, :2]
    found = KSpace(transform(wide), (10, 12), np.eye(4))
    true = np.linalg.norm(IMAGES[:1, 0, :2], axis=1)
    np.testing.assert_allclose(kspace.to_image(found).array, true, atol=1e-5)


def test_samples_along_spokes_give_the_image_of_a_disc() -> None:
    """Weighed by their distance from the centre, at an arbitrary scale."""
    import finufft

    y, x = np.mgrid[-32:32, -32:32]
    disc = ((y - 5) ** 2 + (x + 8) ** 2 < 15**2).astype(np.complex128)
    angles = np.pi * np.arange(101)[:, None] / 101
    radius = (np.arange(128) - 64) * np.pi / 64
    places = np.stack([np.sin(angles) * radius, np.cos(angles) * radius], -1).reshape(-1, 2)
    samples = finufft.nufft2d2(*places.T.copy(), disc, isign=-1)
    found = KSpace(
        samples.astype(np.complex64)[None, None, None], (64, 64), np.eye(4),
        places.astype(np.float32)[None],
    )  # fmt: skip
    image = kspace.to_image(found).array[0]
    inside = disc.real > 0
    assert np.corrcoef(image.ravel(), disc.real.ravel())[0, 1] > 0.97
    assert image[inside].min() > 2 * image[~inside].mean()


def test_bart_on_a_grid(tmp_path: Path) -> None:
    """Dimensions x, y, 1, c, ..., t (10), ..., slices (13)."""
    stored = np.zeros((12, 10, 1, 4, *[1] * 6, 2, 1, 1, 3), np.complex64)
    stored[:, :, 0, :, 0, 0, 0, 0, 0, 0, :, 0, 0, :] = transform(IMAGES).transpose(4, 3, 2, 0, 1)
    path = write_bart(tmp_path / "scan.cfl", stored)
    for one in (path, path.with_suffix(".hdr")):
        assert kspace.is_kspace(one)
        volume = kspace.read_image(one)
        assert volume.axes == "tzyx"
        np.testing.assert_allclose(volume.array, TRUE, atol=1e-5)


def test_bart_in_three_dimensions(tmp_path: Path) -> None:
    whole = np.fft.fftshift(
        np.fft.fft(np.fft.ifftshift(transform(IMAGES[0]), 0), axis=0, norm="ortho"), 0
    )
    path = write_bart(tmp_path / "scan.cfl", whole.transpose(3, 2, 0, 1))
    np.testing.assert_allclose(kspace.read_image(path).array, TRUE[0], atol=1e-5)


def test_bart_along_a_trajectory(tmp_path: Path) -> None:
    samples = np.arange(2 * 5 * 3, dtype=np.complex64).reshape(1, 5, 3, 2)
    path = write_bart(tmp_path / "scan.cfl", samples)
    with pytest.raises(MrgenError, match=r"put their places beside it as scan_traj\.cfl"):
        kspace.read_kspace(path)
    places = np.zeros((3, 5, 3))
    along = np.linspace(-8, 8, 5)[:, None]
    places[0], places[1] = 0.6 * along, 0.8 * along
    write_bart(tmp_path / "scan_traj.cfl", places)
    found = kspace.read_kspace(path)
    assert found.shape == (16, 16)
    assert found.trajectory is not None
    radians = np.linspace(-np.pi, np.pi, 5)
    np.testing.assert_allclose(found.trajectory[0, :5, 1], 0.6 * radians, rtol=1e-6)
    np.testing.assert_allclose(found.trajectory[0, :5, 0], 0.8 * radians, rtol=1e-6)
    # The samples of a spoke stay side by side.
    np.testing.assert_array_equal(found.samples[0, 0, 1, :5], samples[0, :, 0, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Dimensions\n", "gives no dimensions"),
        ("# Dimensions\n4 4 1 1 2\n", "dimension 4, of size 2"),
        ("# Dimensions\n4 4 9 9\n", "cut short"),
    ],
)
def test_bart_that_makes_no_sense(tmp_path: Path, text: str, message: str) -> None:
    path = write_bart(tmp_path / "scan.cfl", np.zeros((4, 4)))
    path.with_suffix(".hdr").write_text(text)
    with pytest.raises(MrgenError, match=message):
        kspace.read_kspace(path)


@pytest.mark.parametrize("is_multicoil", [True, False])
def test_fastmri(tmp_path: Path, is_multicoil: bool) -> None:
    """Rows are the readout, twice as long as the image is high."""
    images = coil_images((3, 20, 14), coils=2)
    stored = transform(images) if is_multicoil else transform(images)[:, 0]
    with h5py.File(tmp_path / "file1.h5", "w") as file:
        file["kspace"] = stored
        file["ismrmrd_header"] = header((1, 14, 20), (1, 12, 10), (4.0, 0.7, 0.5))
        file.attrs["patient_id"] = "abc"
    assert kspace.is_kspace(tmp_path / "file1.h5")
    volume = kspace.read_image(tmp_path / "file1.h5")
    kept = images[..., 5:15, 1:13]
    true = np.linalg.norm(kept, axis=1) if is_multicoil else np.abs(kept[:, 0])
    np.testing.assert_allclose(volume.array, true, atol=1e-5)
    assert volume.spacing == pytest.approx((4.0, 0.5, 0.7))
    assert volume.subject == "abc"


@pytest.mark.parametrize(
    ("name", "array"), [("real", np.zeros((4, 4))), ("long", np.zeros((1,) * 6, complex))]
)
def test_other_arrays_are_not_ours(tmp_path: Path, name: str, array: np.ndarray) -> None:
    path = tmp_path / f"{name}.npy"
    np.save(path, array)
    assert not kspace.is_kspace(path)
    assert plugin.get_reader(str(path)) is None
    with pytest.raises(MrgenError, match="k-space is complex, with axes"):
        kspace.read_kspace(path)


def test_other_files_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"nothing")
    (tmp_path / "b.h5").write_bytes(b"nothing")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["imagesTrue"] = np.zeros((2, 2))
    for name in ("a.npy", "b.h5", "c.h5"):
        assert not kspace.is_kspace(tmp_path / name)
        with pytest.raises(MrgenError):
            kspace.read_kspace(tmp_path / name)


def test_a_dropped_file_becomes_an_image_layer(tmp_path: Path) -> None:
    path = tmp_path / "scan.npy"
    np.save(path, transform(IMAGES[0, 0]))
    reader = plugin.get_reader(str(path))
    assert reader is not None
    ((array, keywords, kind),) = reader(str(path))
    assert kind == "image"
    np.testing.assert_allclose(array[0], TRUE[0, 0], atol=1e-5)
    # Its pixels have no known size.
    assert set(map(str, keywords["units"])) == {"voxel"}
