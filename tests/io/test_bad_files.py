"""Broken files: one clear sentence each, at once, without taking memory."""

from __future__ import annotations

import gzip
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.nifti import read, write
from napari_mrgen.samples import beating_heart
from napari_mrgen.volume import Volume


def whole(path: Path, **fields: object) -> Path:
    """Save a sound 9 x 8 x 7 file with these header fields set as they are."""
    image = nib.Nifti1Image(np.arange(504, dtype=np.int16).reshape(9, 8, 7), np.diag([2, 2, 3, 1]))
    nib.save(image, path)
    if not fields:
        return path
    raw = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(raw[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    raw[:348] = header.binaryblock
    path.write_bytes(raw)
    return path


def truncated_gzip(folder: Path) -> Path:
    path = whole(folder / "bad.nii.gz")
    path.write_bytes(path.read_bytes()[:-100])
    return path


def flipped_bit_in_gzip(folder: Path) -> Path:
    path = folder / "bad.nii.gz"
    raw = bytearray(gzip.compress(whole(folder / "good.nii").read_bytes(), 0))
    raw[-200] ^= 1
    path.write_bytes(raw)
    return path


def small_claims_much_in_gzip(folder: Path) -> Path:
    path = whole(folder / "bad.nii", dim=[4, 900, 900, 100, 1, 1, 1, 1])
    (folder / "bad.nii.gz").write_bytes(gzip.compress(path.read_bytes() + bytes(3_000_000)))
    return folder / "bad.nii.gz"


def text(folder: Path) -> Path:
    (folder / "bad.nii").write_text("not an image\n" * 99, "utf-8")
    return folder / "bad.nii"


def nothing(folder: Path) -> Path:
    (folder / "bad.nii.gz").touch()
    return folder / "bad.nii.gz"


def a_directory(folder: Path) -> Path:
    (folder / "bad.nii").mkdir()
    return folder / "bad.nii"


def header_with(**fields: object) -> Callable[[Path], Path]:
    return lambda folder: whole(folder / "bad.nii", **fields)


NO_FORM = {"sform_code": 0, "qform_code": 0}
TERABYTES = [4, 32767, 32767, 32767, 100, 1, 1, 1]
BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "truncated gzip": (truncated_gzip, "cut short"),
    "flipped bit in gzip": (flipped_bit_in_gzip, "damaged"),
    "small gzip claims much": (small_claims_much_in_gzip, "cut short"),
    "text": (text, "not a NIfTI"),
    "empty": (nothing, "is empty"),
    "directory": (a_directory, "cannot be opened"),
    "missing": (lambda folder: folder / "bad.nii", "cannot be opened"),
    "claims terabytes": (header_with(dim=TERABYTES), "cannot hold more"),
    "claims one voxel more": (header_with(dim=[3, 9, 8, 8, 1, 1, 1, 1]), "cut short"),
    "negative size": (header_with(dim=[3, -9, 8, 7, 1, 1, 1, 1]), "no voxels"),
    "size zero": (header_with(dim=[3, 9, 0, 7, 1, 1, 1, 1]), "no voxels"),
    "nine dimensions": (header_with(dim=[9, 9, 8, 7, 1, 1, 1, 1]), "9 dimensions"),
    "no dimensions": (header_with(dim=[0, 9, 8, 7, 1, 1, 1, 1]), "0 dimensions"),
    "zooms zero": (header_with(pixdim=[1, 0, 2, 3, 1, 1, 1, 1], **NO_FORM), "0 x 2 x 3 mm"),
    "zooms NaN": (header_with(pixdim=[1, 2, np.nan, 3, 1, 1, 1, 1], **NO_FORM), "nan"),
    "sform zero": (header_with(srow_x=0, srow_y=0, srow_z=0, sform_code=1), "0 x 0 x 0 mm"),
    "sform infinite": (header_with(srow_x=np.inf, sform_code=1), "no valid geometry"),
    "sform flat": (header_with(srow_y=[2, 0, 0, 0], srow_z=[0, 2, 2, 0], sform_code=1), "flattens"),
    "unknown type": (header_with(datatype=77), "invalid header"),
    "complex": (header_with(datatype=32), "complex"),
    "colours": (header_with(datatype=128), "RGB"),
    "long double": (header_with(datatype=1536), "64 bit"),
    "intercept NaN": (header_with(scl_slope=2, scl_inter=np.nan), "invalid header"),
    "offset negative": (header_with(vox_offset=-352), "starts at byte"),
    "offset NaN": (header_with(vox_offset=np.nan), "starts at byte"),
    "vectors": (header_with(dim=[5, 3, 8, 7, 1, 3, 1, 1]), "5 dimensions"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_refused_in_one_sentence_without_memory(case: str, tmp_path: Path) -> None:
    make, message = BROKEN[case]
    path = make(tmp_path)
    tracemalloc.start()
    with pytest.raises(MrgenError, match=message) as refused:
        read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")


def test_a_header_that_would_not_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Little:
        available = 100

    monkeypatch.setattr("psutil.virtual_memory", Little)
    with pytest.raises(MrgenError, match="memory"):
        read(whole(tmp_path / "good.nii"))


def test_gzip_in_several_members_is_one_file(tmp_path: Path) -> None:
    raw = whole(tmp_path / "good.nii").read_bytes()
    parts = b"".join(gzip.compress(part) for part in (raw[:300], raw[300:700], raw[700:]))
    (tmp_path / "parts.nii.gz").write_bytes(parts + bytes(16))
    np.testing.assert_array_equal(
        read(tmp_path / "parts.nii.gz").array, read(tmp_path / "good.nii").array
    )


def test_compression_is_seen_in_the_content_not_in_the_name(tmp_path: Path) -> None:
    zipped = whole(tmp_path / "good.nii.gz")
    shutil.copy(zipped, tmp_path / "named.nii")
    assert read(tmp_path / "named.nii").array.shape == (7, 8, 9)


@pytest.fixture
def heart() -> Volume:
    return beating_heart(frames=3, slices=2, size=32)[0]


def test_a_full_disk_leaves_the_old_file_and_no_other(heart: Volume, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    write(heart, tmp_path / "heart.nii")
    before = (tmp_path / "heart.nii").read_bytes()
    draft = tmp_path / f".{os.getpid()}.part.heart.nii"
    draft.symlink_to("/dev/full")
    with pytest.raises(MrgenError, match="disk is full"):
        write(heart.with_array(heart.array + 1), tmp_path / "heart.nii")
    assert (tmp_path / "heart.nii").read_bytes() == before
    assert os.listdir(tmp_path) == ["heart.nii"]


def test_a_folder_that_is_not_there(heart: Volume, tmp_path: Path) -> None:
    with pytest.raises(MrgenError, match="not saved"):
        write(heart, tmp_path / "nowhere" / "heart.nii.gz")
