from __future__ import annotations

import csv
import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_mrgen.app.result_folder import SAMPLES_SIDECAR, SAMPLES_TABLE, Form, SampleFolder
from napari_mrgen.data.slice_volumes import blocks, sample_conditions, sample_levels, sampled_volume
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.synthetic import is_synthetic
from napari_mrgen.volume import Volume

DATA = {"spacing_mm": [2.0, 1.5, 1.25], "plane": "axial"}
RECORD = {"family": "toy", "seed": 3}


def sample_blocks(count: int, size: int = 8) -> Iterator[Volume]:
    for indices in blocks(count):
        images = torch.full((len(indices), size, size), 0.25) + torch.tensor(indices)[
            :, None, None
        ] / (2 * count)
        _, columns = sample_conditions(sample_levels(indices), 40.0, None)
        samples = {"index": list(indices), **columns}
        yield sampled_volume(images, DATA, "toy samples", samples=samples, provenance=RECORD)


def fill(folder: Path, count: int, form: Form = "png") -> list[dict[str, str]]:
    with SampleFolder(folder, form) as target:
        for block in sample_blocks(count):
            target.save(block)
    with (folder / SAMPLES_TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_sample_has_its_file_and_its_row(tmp_path: Path) -> None:
    rows = fill(tmp_path / "made" / "samples", 150)
    assert [int(row["index"]) for row in rows] == list(range(150))
    assert rows[0].keys() == {"file", "index", "level", "age"}
    assert {row["file"] for row in rows} == {
        path.name for path in (tmp_path / "made" / "samples").glob("*.png")
    }
    facts = json.loads((tmp_path / "made" / "samples" / SAMPLES_SIDECAR).read_text())
    assert facts["seed"] == 3
    assert facts["pixel_mm"] == pytest.approx([1.5, 1.25])


@pytest.mark.parametrize("form", ["png", "nifti"])
def test_a_file_holds_its_sample(tmp_path: Path, form: Form) -> None:
    rows = fill(tmp_path, 70, form)
    (block, *_) = sample_blocks(70)
    path = tmp_path / rows[5]["file"]
    if form == "png":
        with Image.open(path) as picture:
            found = np.asarray(picture).astype(float) / 65535
    else:
        sample = nifti.read(path)
        assert sample.spacing == pytest.approx((2.0, 1.5, 1.25))
        found = sample.array[0]
    np.testing.assert_allclose(found, block.array[5, 0], atol=1e-5)


def test_a_sample_as_nifti_is_marked_and_has_no_sidecar_of_its_own(tmp_path: Path) -> None:
    fill(tmp_path, 3, "nifti")
    assert [path.name for path in tmp_path.glob("*.json")] == [SAMPLES_SIDECAR]
    assert b"synthetic" in bytes(nifti.read(tmp_path / "sample-000000.nii.gz").source.stored.header)


def test_blocks_do_not_pile_up(tmp_path: Path) -> None:
    """Memory does not grow with the number of samples: a block is gone when the next one comes."""
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0
    with SampleFolder(tmp_path) as target:
        for block in sample_blocks(640, size=16):
            alive.append(weakref.ref(block.array))
            target.save(block)
            most = max(most, sum(ref() is not None for ref in alive))
    assert len(alive) == 10
    assert most <= 2


def test_the_table_is_whole_at_any_moment(tmp_path: Path) -> None:
    with SampleFolder(tmp_path) as target:
        for block in sample_blocks(200):
            target.save(block)
            lines = (tmp_path / SAMPLES_TABLE).read_text().splitlines()
            assert len(lines) == 1 + target.count
            assert (tmp_path / lines[-1].split(",")[0]).exists()


def test_other_results_go_into_one_file_each(tmp_path: Path) -> None:
    movie = sampled_volume(torch.rand(5, 8, 8), DATA, "toy walk", axes="tzyx")
    with SampleFolder(tmp_path, "nifti") as target:
        assert target.save(movie) == (tmp_path / "toy-walk.nii.gz",)
    assert target.count == 0


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(MrgenError, match="not empty"):
        SampleFolder(tmp_path)
    with SampleFolder(tmp_path, overwrite=True) as target:
        target.save(next(sample_blocks(3)))
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_what_is_no_slice_is_written_whole(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 200, (2, 3, 4, 8, 8)).astype(np.uint8)
    times = (0.0, 0.04, 0.08)
    cine = Volume(values, "ntzyx", np.diag([-1.5, -1.5, -9.0, 1.0])[:, [2, 1, 0, 3]], times=times)
    with SampleFolder(tmp_path / "made") as target:
        for index in range(2):
            samples = {"index": [index]}
            target.save(cine.with_array(values[index : index + 1], samples=samples, times=times))
        spread = cine.with_array(values.std(0).astype(np.float32), "tzyx", name="spread")
        target.save(spread)
    found = nifti.read(tmp_path / "made" / "sample-000001.nii.gz")
    assert np.array_equal(found.array, values[1])
    assert found.times == pytest.approx(times)
    assert (tmp_path / "made" / "spread.nii.gz").exists()


def test_every_picture_says_that_it_is_synthetic(tmp_path: Path) -> None:
    rows = fill(tmp_path, 2)
    for row in rows:
        assert is_synthetic(tmp_path / row["file"])
        with Image.open(tmp_path / row["file"]) as picture:
            assert "not for diagnosis" in picture.info["Comment"]
            assert picture.mode.startswith("I")  # No word in the picture: these are data.
