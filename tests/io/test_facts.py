"""What a file says of its volume beside the voxels: all of it comes back, and none of it harms."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from napari.layers import Layer

from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.facts import Facts, read_extensions, write_extensions
from napari_mrgen.io.geometry import DISPLAY
from napari_mrgen.io.layers import from_layer, to_layer
from napari_mrgen.volume import UNKNOWN, CardiacCycle, Participant, Source, Volume

OBLIQUE = np.array(
    [[0.1, -0.2, -1.3, 7], [0.3, -1.1, 0.2, 9], [-2.7, 0.1, 0.4, 1 / 3], [0, 0, 0, 1]]
)
SHIFT = np.array([[1, 0, 0, 2.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
CINE = Volume(
    array=np.random.default_rng(0).normal(90, 20, (4, 2, 6, 5)).astype(np.float32),
    axes="tzyx",
    affine=OBLIQUE,
    name="predicted",
    subject="sub-07",
    participant=Participant(age=61.0, sex="F", diagnosis="DCM", height_cm=171.5),
    cardiac_cycle=CardiacCycle(ed_frame=0, es_frame=2, duration=0.8, ejection_fraction=0.35),
    times=(1.046, 1.09, 1.13, 1.2),
    provenance={"family": "frame_prediction", "seed": 3, "source": {"cine": {"path": "a ü.nii"}}},
)
SAMPLES = replace(
    CINE,
    array=np.stack([CINE.array, CINE.array + 1]),
    axes="ntzyx",
    samples={"index": [0, 1], "level": [0.25, 0.75]},
)
VOLUMES = {
    "generated cine": CINE,
    "samples": SAMPLES,
    "one frame": replace(CINE, array=CINE.array[:1], times=(1.046,)),
    "a volume at a time": replace(CINE, array=CINE.array[0], axes="zyx", times=(1.046,)),
    "no times": replace(CINE, times=None),
    "measured": replace(CINE, provenance=None),
    "labels": replace(
        CINE, array=(CINE.array > 90).astype(np.int64), kind="labels", labelled_frames=(0, 2)
    ),
    "cases": replace(
        SAMPLES, array=SAMPLES.array[:, 0], axes="nzyx", times=None, samples=None, cases=("a", "b")
    ),
    "a window": replace(CINE, window=(0.0, 1.0), array=CINE.array.astype(np.float16)),
    "a picture": replace(CINE, source=Source(spacing_known=False), participant=UNKNOWN),
}


def saved(volume: Volume, folder: Path) -> Volume:
    nifti.write(volume, folder / f"{volume.name}.nii.gz")
    return nifti.read(folder / f"{volume.name}.nii.gz")


def assert_equal(one: Volume, other: Volume) -> None:
    for field in fields(Volume):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if field.name in ("array", "affine"):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        elif field.name != "source":
            assert left == right, field.name
    assert one.spacing_known == other.spacing_known


@pytest.mark.parametrize("name", VOLUMES)
def test_read_after_write_is_the_identity(name: str, tmp_path: Path) -> None:
    volume = VOLUMES[name]
    again = saved(volume, tmp_path)
    assert_equal(again, volume)
    assert_equal(
        saved(replace(again, subject="sub-08"), tmp_path), replace(again, subject="sub-08")
    )


@pytest.mark.parametrize("name", VOLUMES)
def test_through_a_layer_too(name: str, tmp_path: Path) -> None:
    volume = VOLUMES[name]
    if volume.array.dtype == np.float16:
        volume = replace(volume, array=volume.array.astype(np.float32))
    layer = Layer.create(*to_layer(volume))
    again = from_layer(layer.as_layer_data_tuple())
    assert_equal(saved(again, tmp_path), again)
    # One frame has no interval, and a volume no axis of time: a layer shows no time of them.
    if volume.size("t") > 1 or volume.times is None:
        assert_equal(again, volume)


@pytest.mark.parametrize("name", VOLUMES)
def test_an_untouched_file_of_this_program_stays_as_it_is(name: str, tmp_path: Path) -> None:
    again = saved(VOLUMES[name], tmp_path)
    nifti.write(again, tmp_path / "again.nii.gz")
    assert (tmp_path / "again.nii.gz").read_bytes() == (
        tmp_path / f"{again.name}.nii.gz"
    ).read_bytes()


def test_other_programs_read_the_file(tmp_path: Path) -> None:
    upright = replace(CINE, affine=np.linalg.inv(DISPLAY) @ np.diag([8, 1.5, 1.25, 1]))
    again = saved(upright, tmp_path)
    image: Any = nib.load(tmp_path / "predicted.nii.gz")
    assert float(image.header["toffset"]) == pytest.approx(1.046)
    assert float(image.header["pixdim"][4]) == pytest.approx(0.154 / 3)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert [extension.get_code() for extension in image.header.extensions] == [6]
    np.testing.assert_array_equal(image.get_fdata(), again.array.transpose(3, 2, 1, 0))
    itk = SimpleITK.ReadImage(str(tmp_path / "predicted.nii.gz"))
    assert itk.GetSize() == (5, 6, 2, 4)
    assert itk.GetSpacing() == pytest.approx((1.25, 1.5, 8, 0.154 / 3), rel=1e-5)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(itk), CINE.array)


def test_a_first_time_that_another_program_gave_is_read(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((3, 4, 2, 5), np.int16), np.eye(4))
    image.header.set_xyzt_units("mm", "msec")
    image.header["pixdim"][4], image.header["toffset"] = 50, 1046
    nib.save(image, tmp_path / "a.nii")
    assert nifti.read(tmp_path / "a.nii").times == pytest.approx(
        (1.046, 1.096, 1.146, 1.196, 1.246)
    )


class TestOtherPrograms:
    @pytest.fixture(params=["<", ">"])
    def file(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        """Give a file with extensions of others, in either byte order."""
        header = nib.Nifti1Header(endianness=request.param)
        header.set_data_dtype(np.int16)
        header.extensions.append(nib.nifti1.Nifti1Extension("afni", b"<AFNI_attributes/>"))
        header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"left is left"))
        image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4), header)
        nib.save(image, tmp_path / "a.nii")
        return tmp_path / "a.nii"

    def test_their_extensions_survive(self, file: Path, tmp_path: Path) -> None:
        volume = nifti.read(file)
        nifti.write(volume, tmp_path / "same.nii")
        assert (tmp_path / "same.nii").read_bytes() == file.read_bytes()
        other = replace(volume, affine=volume.affine @ SHIFT)
        for turn in range(2):
            nifti.write(other, tmp_path / f"{turn}.nii")
            image: Any = nib.load(tmp_path / f"{turn}.nii")
            contents = [one.content.rstrip(b"\0") for one in image.header.extensions]
            assert contents[:2] == [b"<AFNI_attributes/>", b"left is left"]
            assert len(contents) == 3
            other = nifti.read(tmp_path / f"{turn}.nii")
            other = replace(other, affine=other.affine @ SHIFT)

    def test_a_synthetic_image_does_not_take_them_over(self, file: Path, tmp_path: Path) -> None:
        volume = nifti.read(file)
        nifti.write(replace(volume, provenance={"family": "dcgan"}), tmp_path / "b.nii")
        image: Any = nib.load(tmp_path / "b.nii")
        assert len(image.header.extensions) == 1

    def test_an_image_that_they_changed_lies_where_they_say(self, tmp_path: Path) -> None:
        saved(CINE, tmp_path)
        image: Any = nib.load(tmp_path / "predicted.nii.gz")
        nib.save(image.slicer[1:, :, :, 1:3], tmp_path / "cropped.nii.gz")
        cropped = nifti.read(tmp_path / "cropped.nii.gz")
        assert cropped.array.shape == (2, 2, 6, 4)
        assert cropped.times != CINE.times[1:3]
        assert (cropped.subject, cropped.participant) == (CINE.subject, CINE.participant)
        expected = OBLIQUE @ np.array([0, 0, 1, 1])
        np.testing.assert_allclose(cropped.affine[:3, 3], expected[:3], atol=1e-4)


def with_extension(content: bytes, path: Path) -> Path:
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", content))
    nib.save(image, path)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b'{"napari-mrgen":1',
        b'{"napari-mrgen":1,"times":"soon"}',
        b'{"napari-mrgen":1,"participant":{"age":"old"}}',
        b'{"napari-mrgen":1,"participant":{"sex":"X"}}',
        b'{"napari-mrgen":1,"grid":{"axes":"zyx"}}',
        b'{"napari-mrgen":1,"grid":{"axes":"zyx","shape":[4,3,2],"dtype":"O","affine":'
        b'[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]],"order":[0,1,2],"flips":[0,0,0]}}',
        b'{"napari-mrgen":1,"provenance":' + b"[" * 100_000,
        b'{"napari-mrgen":1,"subject":"\xff"}',
    ],
)
def test_damaged_facts_are_left_out_with_a_note(content: bytes, tmp_path: Path) -> None:
    volume = nifti.read(with_extension(content, tmp_path / "a.nii"))
    assert volume.array.shape == (4, 3, 2)
    assert volume.source is not None
    assert any("damaged" in note for note in volume.source.notes)
    with pytest.raises(MrgenError, match="cannot be used"):
        Facts.parse(b"{")


@pytest.mark.parametrize(
    "grid",
    [
        {"shape": [4, 3, 3]},
        {"shape": [2**40, 2**40, 2**40]},
        {"shape": [4, 3, -2]},
        {"affine": [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]},
    ],
)
def test_a_grid_that_is_not_that_of_the_header_is_left_out(
    grid: dict[str, Any], tmp_path: Path
) -> None:
    whole = {
        "axes": "zyx", "shape": [4, 3, 2], "dtype": "<i2", "order": [2, 1, 0],
        "affine": np.eye(4).tolist(), "flips": [False, False, False], **grid,
    }  # fmt: skip
    text = str({"napari-mrgen": 1, "subject": "a", "grid": whole})
    content = text.replace("'", '"').replace("False", "false").replace('": ', '":').encode()
    volume = nifti.read(with_extension(content, tmp_path / "a.nii"))
    assert (volume.subject, volume.array.shape, volume.spacing) == ("a", (4, 3, 2), (1, 1, 1))


@pytest.mark.parametrize("size", [-16, 0, 8, 1 << 30])
def test_lengths_that_cannot_be_end_the_extensions(size: int) -> None:
    good = write_extensions([(4, b"good")])
    bad = np.array([size, 6], "<i4").tobytes() + bytes(24)
    assert list(read_extensions(good + bad, 0, "<")) == [(4, b"good".ljust(8, b"\0"))]
    assert list(read_extensions(b"\0" + good[1:], 0, "<")) == []
