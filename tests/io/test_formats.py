"""A format is one file and one entry in a list: then its files are found, read and listed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_mrgen.app.info import describe
from napari_mrgen.io import formats, nifti
from napari_mrgen.io.datasets import oasis, oasis_png
from napari_mrgen.io.find import find, reference_to
from napari_mrgen.io.formats import FORMATS, NIFTI, Format, format_of
from napari_mrgen.io.plugin import get_reader
from napari_mrgen.io.raw_data import hdf5_series, kspace
from napari_mrgen.volume import Source, Volume

HEADER = b"toy!"


def matches(path: Path) -> bool:
    return path.suffix == ".toy"


def read(path: Path) -> Volume:
    array = np.frombuffer(path.read_bytes().removeprefix(HEADER), np.uint8).reshape(2, 3, 4)
    return Volume(array, "zyx", np.eye(4), name=path.stem, source=Source(str(path), "toy"))


TOY = Format("toy", matches, read, suffixes=(".toy",))


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "sub-01.toy").write_bytes(HEADER + bytes(range(24)))
    (tmp_path / "notes.txt").touch()
    FORMATS.append(TOY)
    yield tmp_path / "sub-01.toy"
    FORMATS.remove(TOY)


def test_a_new_format_is_found_read_and_listed(toy: Path) -> None:
    for path in (toy, toy.parent):
        (reference,) = find(path, ("zyx",))
        assert (reference.path, reference.subject) == (toy, "sub-01")
        assert reference.info().shape == (2, 3, 4)
        assert reference.read().array[1, 2, 3] == 23
    reader = get_reader(str(toy))
    assert reader is not None
    ((array, keywords, kind),) = reader(str(toy))
    assert (array.shape, keywords["name"], kind) == ((2, 3, 4), "sub-01", "image")
    assert describe(toy)["shape"] == [2, 3, 4]


def test_without_it_nobody_knows_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.toy").write_bytes(HEADER)
    assert get_reader(str(tmp_path / "a.toy")) is None


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "OAS1_0001_MR1_mpr-1_anon.nii"])
def test_a_nifti_file_is_not_asked_whether_it_is_something_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nifti.write(Volume(np.zeros((2, 3, 4)), "zyx", np.eye(4)), tmp_path / name)

    def fail(*_: object) -> bool:
        raise AssertionError("asked")

    for module, question in (
        (kspace, "is_kspace"), (hdf5_series, "is_series"), (oasis_png, "is_case"),
        (oasis, "affine_of"),
    ):  # fmt: skip
        monkeypatch.setattr(module, question, fail)
    others = [Format(other.name, fail, other.read) for other in FORMATS[1:]]
    monkeypatch.setattr(formats, "FORMATS", [NIFTI, *others])
    assert format_of(tmp_path / name) is NIFTI
    assert reference_to(tmp_path / name).read().array.shape == (2, 3, 4)
