"""NIfTI: what is read is in its place, and what was only read is written back bit for bit."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.nifti import info, read, write

Affine = npt.NDArray[np.float64]

AXIS_CODES = [
    "".join(code)
    for order in itertools.permutations(("LR", "PA", "IS"))
    for code in itertools.product(*order)
]
SPACINGS = {"isotropic": (1.0, 1.2, 1.4), "thick": (1.3, 1.5, 9.0), "thick first": (9.0, 1.3, 1.5)}


def affine_of(code: str, spacing: tuple[float, float, float]) -> Affine:
    affine = np.eye(4)
    affine[:3, 3] = (11, -23, 37)
    for stored, letter in enumerate(code):
        scanner = next(i for i, pair in enumerate(("LR", "PA", "IS")) if letter in pair)
        affine[scanner, scanner] = 0
        affine[:3, stored] = 0
        affine[scanner, stored] = spacing[stored] if letter in "RAS" else -spacing[stored]
    return affine


def oblique(affine: Affine, degrees: tuple[float, float, float]) -> Affine:
    turned = affine.copy()
    for axis, angle in enumerate(np.radians(degrees)):
        turn = np.eye(3)
        others = [a for a in range(3) if a != axis]
        turn[np.ix_(others, others)] = [
            [np.cos(angle), -np.sin(angle)],
            [np.sin(angle), np.cos(angle)],
        ]
        turned[:3] = turn @ turned[:3]
    return turned


def save(path: Path, array: npt.NDArray[np.generic], affine: Affine, **fields: object) -> Path:
    """Save with nibabel; ``fields`` are set in the header as they are."""
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm", "sec")
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def random_array(shape: tuple[int, ...], seed: int = 0) -> npt.NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-900, 900, shape, np.int16)


def assert_in_place(path: Path) -> None:
    """Each voxel of the Volume holds what nibabel has at the same scanner position."""
    volume = read(path)
    stored = np.asanyarray(nib.load(path).dataobj)
    stored = stored.reshape(stored.shape + (1,) * (3 - stored.ndim))
    indices = np.indices(volume.array.shape[-3:]).reshape(3, -1)
    scanner = volume.affine @ np.vstack([indices, np.ones(indices.shape[1])])
    there = np.rint(np.linalg.inv(nib.load(path).affine) @ scanner)[:3].astype(int)
    expected = stored[tuple(there)]
    found = np.moveaxis(volume.array, (-3, -2, -1), (0, 1, 2))[tuple(indices)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("frames", [0, 3], ids=["3-D", "4-D"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("code", AXIS_CODES)
def test_every_orientation_is_read_in_place_and_written_back(
    code: str, spacing: str, frames: int, tmp_path: Path
) -> None:
    shape = (4, 5, 6) + ((frames,) if frames else ())
    affine = affine_of(code, SPACINGS[spacing])
    path = save(tmp_path / "in.nii", random_array(shape), affine)
    volume = read(path)
    assert_in_place(path)
    assert volume.axes == ("tzyx" if frames else "zyx")
    assert np.linalg.det(volume.affine[:3, :3]) > 0, "the frame is mirrored"
    if spacing == "isotropic":
        assert aff2axcodes(volume.affine) == ("I", "P", "L")
    else:
        assert volume.spacing[0] == pytest.approx(9), "thick slices were cut across"
    write(volume, tmp_path / "out.nii")
    assert (tmp_path / "out.nii").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("degrees", [(10, 0, 0), (20, -15, 30), (44, 3, -50)])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_oblique_stays_oblique(
    spacing: str, degrees: tuple[float, float, float], tmp_path: Path
) -> None:
    affine = oblique(affine_of("LAS", SPACINGS[spacing]), degrees)
    path = save(tmp_path / "in.nii", random_array((4, 5, 6)), affine)
    assert_in_place(path)
    assert sorted(read(path).spacing) == pytest.approx(sorted(SPACINGS[spacing]), rel=1e-5)
    write(read(path), tmp_path / "out.nii")
    assert (tmp_path / "out.nii").read_bytes() == path.read_bytes()


@st.composite
def nifti_files(draw: st.DrawFn) -> tuple[type, npt.NDArray[np.generic], Affine, dict[str, object]]:
    """Draw a header class, an array, an affine and header fields."""
    dtype = draw(st.sampled_from(["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]))
    shape = draw(st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple))
    array = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 120, shape).astype(dtype)
    code = draw(st.sampled_from(AXIS_CODES))
    spacing = draw(st.tuples(*[st.floats(0.5, 12)] * 3))
    affine = oblique(affine_of(code, spacing), draw(st.tuples(*[st.floats(-60, 60)] * 3)))
    fields: dict[str, object] = {
        "xyzt_units": draw(st.sampled_from([0, 1, 2, 3])) | draw(st.sampled_from([0, 8, 16, 24])),
        "descrip": draw(st.sampled_from([b"", b"a scan"])),
        "qform_code": draw(st.sampled_from([0, 1, 2])),
        "sform_code": draw(st.sampled_from([0, 1, 4])),
        "cal_max": 77,
        "toffset": 3,
    }
    if dtype in ("u1", "i1", "i2", "u2"):
        fields["scl_slope"] = draw(st.sampled_from([0, 1, np.nan, 0.37, 2.5, -3]))
        fields["scl_inter"] = draw(st.sampled_from([0, 0, 12.5, -1024]))
    return draw(st.sampled_from([nib.Nifti1Image, nib.Nifti2Image])), array, affine, fields


@settings(max_examples=150, deadline=None)
@given(drawn=nifti_files(), big_endian=st.booleans())
def test_written_is_what_was_read(
    drawn: tuple[type, npt.NDArray[np.generic], Affine, dict[str, object]],
    big_endian: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    image_class, array, affine, fields = drawn
    path = tmp_path_factory.mktemp("law") / "in.nii"
    image = image_class(array, affine, dtype=array.dtype)
    image.to_filename(path)
    header = image_class.load(path).header
    for name, value in fields.items():
        header[name] = value
    offset = 544 if image_class is nib.Nifti2Image else 352
    header["vox_offset"] = offset
    order = ">" if big_endian else "<"
    swapped = header.as_byteswapped(order)
    voxels = array.astype(array.dtype.newbyteorder(order)).tobytes(order="F")
    path.write_bytes(swapped.binaryblock.ljust(offset, b"\0") + voxels)
    write(read(path), path.with_name("out.nii"))
    assert path.with_name("out.nii").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ", ".v1.2.nii.gz"])
def test_compressed_and_dotted_names(suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path / "in.nii", random_array((3, 4, 5)), affine_of("RAS", (1, 1, 1)))
    write(read(path), tmp_path / f"out{suffix}")
    again = read(tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(again.array, read(path).array)
    assert again.name == f"out{suffix}".lower().removesuffix(".gz").removesuffix(".nii")


def test_pair_is_read_and_written_as_one_file(tmp_path: Path) -> None:
    array = random_array((3, 4, 5, 2))
    nib.save(nib.Nifti1Pair(array, affine_of("LPS", (1, 2, 2))), tmp_path / "scan.img")
    for name in ("scan.img", "scan.hdr"):
        write(read(tmp_path / name), tmp_path / "whole.nii")
        whole = nib.load(tmp_path / "whole.nii")
        np.testing.assert_array_equal(np.asanyarray(whole.dataobj), array)
        np.testing.assert_array_equal(whole.affine, nib.load(tmp_path / "scan.img").affine)


def test_idle_axes_are_dropped_and_come_back(tmp_path: Path) -> None:
    path = save(tmp_path / "in.nii", random_array((3, 4, 5, 1)), affine_of("RAS", (1, 1, 1)))
    assert read(path).axes == "zyx"
    write(read(path), tmp_path / "out.nii")
    assert nib.load(tmp_path / "out.nii").shape == (3, 4, 5, 1)


def test_a_single_slice_stays_a_slice(tmp_path: Path) -> None:
    path = save(tmp_path / "in.nii", random_array((7, 8, 1)), affine_of("RSA", (1, 1, 1)))
    assert read(path).array.shape == (1, 8, 7)
    path = save(tmp_path / "2d.nii", random_array((7, 8)), affine_of("RAS", (1, 1, 1)))
    assert read(path).array.shape == (1, 8, 7)
    assert_in_place(path)


@pytest.mark.parametrize(
    ("units", "step", "expected"),
    [
        (2 | 8, 0.04, 0.04),
        (2 | 16, 40.0, 0.04),
        (2 | 24, 40_000.0, 0.04),
        (2, 1.0, None),
        (2, 0.04, None),
        (2 | 8, 0.0, None),
        (2 | 8, np.nan, None),
        (2 | 32, 40.0, None),
    ],
    ids=["s", "ms", "us", "no unit", "no unit 2", "zero", "NaN", "Hz"],
)
def test_seconds_come_from_the_file_or_not_at_all(
    units: int, step: float, expected: float | None, tmp_path: Path
) -> None:
    affine = affine_of("RAS", (1, 1, 8))
    fields = {"xyzt_units": units, "pixdim": [1, 1, 1, 8, step, 1, 1, 1]}
    path = save(tmp_path / "in.nii", random_array((3, 4, 5, 6)), affine, **fields)
    interval = read(path).frame_interval
    assert interval == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("micron", 1e-3), ("meter", 1e3)])
def test_lengths_become_millimetres(unit: str, factor: float, tmp_path: Path) -> None:
    image = nib.Nifti1Image(random_array((3, 4, 5)), affine_of("LPS", (2, 3, 4)))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "in.nii")
    assert read(tmp_path / "in.nii").spacing == pytest.approx((4 * factor, 3 * factor, 2 * factor))


def test_unit_columns_take_their_length_from_pixdim(tmp_path: Path) -> None:
    fields = {"pixdim": [1, 1.37, 1.37, 10, 1, 1, 1, 1], "qform_code": 0, "xyzt_units": 0}
    path = save(
        tmp_path / "in.nii", random_array((4, 5, 6, 7)), np.diag([-1.0, -1, 1, 1]), **fields
    )
    volume = read(path)
    assert volume.spacing == pytest.approx((10, 1.37, 1.37))
    assert volume.times is None
    write(volume, tmp_path / "out.nii")
    assert (tmp_path / "out.nii").read_bytes() == path.read_bytes()


def test_sform_goes_before_qform_and_a_difference_is_told(tmp_path: Path) -> None:
    image = nib.Nifti1Image(random_array((3, 4, 5)), None)
    image.set_qform(affine_of("RAS", (1, 1, 1)), 1)
    image.set_sform(affine_of("LPS", (1, 1, 1)), 1)
    nib.save(image, tmp_path / "in.nii")
    volume = read(tmp_path / "in.nii")
    assert_in_place(tmp_path / "in.nii")
    assert volume.source is not None
    assert any("differ" in note for note in volume.source.notes)


def test_integers_stay_integers_unless_scaled(tmp_path: Path) -> None:
    affine = affine_of("RAS", (1, 1, 1))
    plain = save(tmp_path / "plain.nii", random_array((3, 4, 5)), affine)
    assert read(plain).array.dtype == np.int16
    scaled = tmp_path / "scaled.nii"
    scaled.write_bytes(plain.read_bytes())
    with scaled.open("r+b") as file:
        file.seek(112)
        file.write(np.array([0.5, 3], np.float32).tobytes())
    volume = read(scaled)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, read(plain).array * 0.5 + 3)


def test_values_that_the_header_cannot_hold_get_a_new_one(tmp_path: Path) -> None:
    path = save(tmp_path / "in.nii", random_array((3, 4, 5)), affine_of("PIR", (1, 1, 1)))
    volume = read(path)
    changed = volume.with_array(volume.array + np.float32(0.25))
    write(changed, tmp_path / "out.nii")
    np.testing.assert_array_equal(read(tmp_path / "out.nii").array, changed.array)
    written = nib.load(tmp_path / "out.nii")
    np.testing.assert_allclose(written.affine, nib.load(path).affine)
    assert written.shape == (3, 4, 5)


def test_labels_are_known_by_name_or_intent(tmp_path: Path) -> None:
    affine = affine_of("RAS", (1, 1, 1))
    array = random_array((3, 4, 5)) % 4
    names = {"p_gt": "labels", "s-1_dseg": "labels", "aseg": "labels", "brain": "image"}
    for name, kind in names.items():
        assert read(save(tmp_path / f"{name}.nii", array, affine)).kind == kind
    whole = save(tmp_path / "float_seg.nii", array.astype(np.float32), affine)
    assert read(whole).array.dtype == np.int32
    broken = save(tmp_path / "soft_mask.nii", array / np.float32(7), affine)
    assert read(broken).kind == "image"
    new = replace(read(whole), array=read(whole).array.astype(np.int64), source=None)
    write(new, tmp_path / "any.nii")
    assert read(tmp_path / "any.nii").kind == "labels"
    assert nib.load(tmp_path / "any.nii").get_data_dtype() == np.uint8


def test_peek_tells_what_read_returns(tmp_path: Path) -> None:
    path = save(tmp_path / "in.nii.gz", random_array((3, 4, 5, 6)), affine_of("PIR", (1, 1, 1)))
    seen, volume = info(path), read(path)
    assert (seen.axes, seen.shape, seen.times) == (volume.axes, volume.array.shape, volume.times)
    np.testing.assert_array_equal(seen.affine, volume.affine)


def test_only_nifti_names_are_written(tmp_path: Path) -> None:
    path = save(tmp_path / "in.nii", random_array((3, 4, 5)), affine_of("RAS", (1, 1, 1)))
    with pytest.raises(MrgenError, match=r"\.nii\.gz or \.nii"):
        write(read(path), tmp_path / "out.img")
