"""Raw data of the ISMRM, written as its library does, of images that are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.raw_data import kspace
from tests.io.kspace_files import Readout, coil_images, header, transform, write_ismrmrd

PIXEL = (8.0, 1.5, 1.25)
IMAGES = coil_images((3, 2, 10, 12), coils=2)
"""(t, z, c, y, x)"""
TRUE = np.linalg.norm(IMAGES, axis=2)
WIDE = np.zeros((3, 2, 2, 10, 24), complex)
WIDE[..., 6:18] = IMAGES
SAMPLES = transform(WIDE)
AXES = {"read_dir": (1, 0, 0), "phase_dir": (0, 1, 0), "slice_dir": (0, 0, 1)}


def lines() -> Iterator[Readout]:
    """All lines of a cine of two slices; its readouts are twice as wide as the image."""
    for t, z, y in np.ndindex(3, 2, 10):
        head = {"center_sample": 12, "position": (10, 20, 30 + 8 * z), **AXES}
        counters = {"kspace_encode_step_1": y, "slice": z, "phase": t}
        yield Readout(SAMPLES[t, z, :, y], head, counters)


def write(path: Path, readouts: list[Readout], **options: int) -> Path:
    return write_ismrmrd(path, header((1, 10, 24), (1, 10, 12), PIXEL, **options), readouts)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return write(tmp_path / "scan.h5", list(lines()))


def test_the_image_of_a_cine(scan: Path) -> None:
    assert kspace.is_kspace(scan)
    found = kspace.read_kspace(scan)
    np.testing.assert_array_equal(found.samples, SAMPLES)
    assert found.shape == (10, 12)
    volume = kspace.to_image(found)
    assert volume.axes == "tzyx"
    np.testing.assert_allclose(volume.array, TRUE, atol=1e-5)


def test_geometry_is_that_of_the_readouts(scan: Path) -> None:
    """Positions are LPS, of the field of view's centre: pixel (5, 6)."""
    affine = kspace.read_kspace(scan).affine
    np.testing.assert_allclose(affine @ [0, 5, 6, 1], [-10, -20, 30, 1])
    np.testing.assert_allclose(affine @ [1, 5, 6, 1], [-10, -20, 38, 1])
    np.testing.assert_allclose(affine @ [0, 6, 6, 1], [-10, -21.5, 30, 1])
    np.testing.assert_allclose(affine @ [0, 5, 7, 1], [-11.25, -20, 30, 1])


def test_without_directions_the_voxel_size_stays(tmp_path: Path) -> None:
    readouts = [one._replace(head={"center_sample": 12}) for one in lines()]
    volume = kspace.read_image(write(tmp_path / "scan.h5", readouts))
    assert volume.spacing == pytest.approx(PIXEL)
    assert volume.source is not None
    assert "left and right are not known" in volume.source.notes[0]


def test_noise_and_other_contrasts_are_left_out_and_lines_averaged(tmp_path: Path) -> None:
    readouts = list(lines())
    first = readouts[0]
    noise = first._replace(head={**first.head, "flags": 1 << 18}, values=np.full((2, 7), 1e6))
    other = first._replace(counters={**first.counters, "contrast": 1})
    again = [one._replace(values=3 * one.values) for one in readouts]
    path = write(tmp_path / "scan.h5", [noise, other, *readouts, *again])
    np.testing.assert_allclose(kspace.read_kspace(path).samples, 2 * SAMPLES, rtol=1e-5)


def test_partial_and_reversed_readouts_lie_in_their_place(tmp_path: Path) -> None:
    partial = [
        one._replace(values=one.values[:, 4:], head={**one.head, "center_sample": 8})
        for one in lines()
    ]
    turned = [
        one._replace(values=one.values[:, ::-1], head={**one.head, "flags": 1 << 21})
        for one in partial
    ]
    for readouts in (partial, turned):
        samples = kspace.read_kspace(write(tmp_path / "scan.h5", readouts)).samples
        np.testing.assert_array_equal(samples[..., 4:], SAMPLES[..., 4:])
        assert not samples[..., :4].any()


def test_lines_count_from_the_centre_of_the_header(tmp_path: Path) -> None:
    late = [one for one in lines() if one.counters["kspace_encode_step_1"] >= 3]
    moved = [
        one._replace(counters={**one.counters, "kspace_encode_step_1": y - 3})
        for one in late
        if (y := one.counters["kspace_encode_step_1"])
    ]
    samples = kspace.read_kspace(write(tmp_path / "scan.h5", moved, centre=2)).samples
    np.testing.assert_array_equal(samples[..., 3:, :], SAMPLES[..., 3:, :])
    assert not samples[..., :3, :].any()


def test_a_third_encoded_direction_becomes_slices(tmp_path: Path) -> None:
    images = coil_images((4, 10, 12), coils=2)
    planes = np.fft.ifftshift(transform(images), 0)
    whole = np.fft.fftshift(np.fft.fft(planes, axis=0, norm="ortho"), 0).astype(np.complex64)
    readouts = [
        Readout(
            whole[z, :, y], {"center_sample": 6, "position": (0, 0, 5), **AXES},
            {"kspace_encode_step_1": y, "kspace_encode_step_2": z},
        )
        for z, y in np.ndindex(4, 10)
    ]  # fmt: skip
    xml = header((4, 10, 12), (4, 10, 12), PIXEL)
    volume = kspace.read_image(write_ismrmrd(tmp_path / "scan.h5", xml, readouts))
    np.testing.assert_allclose(volume.array, np.linalg.norm(images, axis=1), atol=1e-5)
    np.testing.assert_allclose(volume.affine @ [2, 5, 6, 1], [0, 0, 5, 1], atol=1e-6)


@pytest.mark.parametrize("unit", [1, 24])
def test_a_radial_scan_in_shares_or_steps_of_the_grid(tmp_path: Path, unit: int) -> None:
    """Two frames of three spokes; a third frame that was cut off is left out."""
    radius = (np.arange(24) - 12) / 24
    readouts = []
    for number in range(7):
        angle = number * 0.4
        places = np.stack([np.cos(angle) * radius, np.sin(angle) * radius], 1) * unit
        values = np.full((2, 24), number + 1j)
        readouts.append(Readout(values, AXES, {"repetition": number // 3}, places))
    xml = header((1, 24, 24), (1, 12, 12), PIXEL, "radial")
    found = kspace.read_kspace(write_ismrmrd(tmp_path / "scan.h5", xml, readouts))
    assert found.samples.shape == (2, 1, 2, 72)
    assert found.shape == (12, 12)
    assert found.trajectory is not None
    np.testing.assert_allclose(found.trajectory[0, :24, 1], 2 * np.pi * radius, rtol=1e-5)
    np.testing.assert_allclose(
        found.trajectory[1, :24, 0], 2 * np.pi * np.sin(1.2) * radius, rtol=1e-5
    )
    np.testing.assert_array_equal(found.samples[1, 0, :, 24:48], 4 + 1j)
    assert kspace.to_image(found).array.shape == (2, 1, 12, 12)


def test_what_is_wrong_is_said_in_words(tmp_path: Path, scan: Path) -> None:
    whole = list(lines())
    far = whole[0]._replace(counters={"kspace_encode_step_1": 10})
    long = whole[0]._replace(values=np.zeros((2, 30)))
    noise = whole[0]._replace(head={"flags": 1 << 18})
    for readouts, message in (
        ([far], "outside the 1 x 10"), ([long], "do not fit the 24"), ([noise], "no readouts of"),
    ):  # fmt: skip
        with pytest.raises(MrgenError, match=message):
            kspace.read_kspace(write(tmp_path / "bad.h5", readouts))
    for xml, message in (("<a/>", "no encoding"), ("nothing", "unusable")):
        with h5py.File(scan, "r+") as file:
            file["dataset/xml"][0] = xml
        with pytest.raises(MrgenError, match=message):
            kspace.read_kspace(scan)
    spiral = header((1, 24, 24), (1, 12, 12), PIXEL, "spiral")
    with pytest.raises(MrgenError, match="is spiral, and has no 2-D trajectory"):
        kspace.read_kspace(write_ismrmrd(tmp_path / "bad.h5", spiral, whole))


def test_a_file_that_was_cut_off(scan: Path) -> None:
    scan.write_bytes(scan.read_bytes()[:3000])
    with pytest.raises(MrgenError, match=r"scan\.h5"):
        kspace.read_kspace(scan)
