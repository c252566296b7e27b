"""``result.h5``: what is written is read again, stacked where it can be, and drawn."""

from __future__ import annotations

from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import pytest

from napari_mrgen.app.jobs.predict import plot_results, read_results, write_results
from napari_mrgen.volume import Volume

SAME = {"a": (3, 2, 8, 9), "b/c": (3, 2, 8, 9)}
DIFFERENT = {"a": (3, 2, 8, 9), "b/c": (4, 2, 8, 7)}


def cases(shapes: dict[str, tuple[int, ...]]) -> dict[str, dict[str, Volume]]:
    """Draw an input, a result and, of the first case alone, a truth."""
    generator = np.random.default_rng(0)

    def volume(shape: tuple[int, ...]) -> Volume:
        return Volume(generator.random(shape, np.float32), "tzyx", np.eye(4))

    made = {name: {"input": volume(s), "result": volume(s)} for name, s in shapes.items()}
    made["a"]["truth"] = volume(shapes["a"])
    return made


@pytest.mark.parametrize("shapes", [SAME, DIFFERENT], ids=["same", "different"])
def test_read_after_write_is_the_identity(
    shapes: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    written = cases(shapes)
    write_results(tmp_path / "result.h5", written.items())
    read = read_results(tmp_path / "result.h5")
    assert {part: list(found) for part, found in read.items()} == {
        "input": ["a", "b-c"], "result": ["a", "b-c"], "truth": ["a"]
    }  # fmt: skip
    for name, parts in written.items():
        for part, volume in parts.items():
            np.testing.assert_array_equal(read[part][name.replace("/", "-")], volume.array)


def test_cases_of_one_shape_are_one_dataset(tmp_path: Path) -> None:
    write_results(tmp_path / "result.h5", cases(SAME).items())
    with h5py.File(tmp_path / "result.h5") as file:
        assert file["result"].shape == (2, 3, 2, 8, 9)
        assert list(file["result"].attrs["axes"]) == ["case", "t", "z", "y", "x"]
        assert list(file["result_cases"].asstr()[()]) == ["a", "b-c"]
    write_results(tmp_path / "result.h5", cases(DIFFERENT).items())
    with h5py.File(tmp_path / "result.h5") as file:
        assert file["result"]["b-c"].shape == (4, 2, 8, 7)
        assert list(file["result"]["a"].attrs["axes"]) == ["t", "z", "y", "x"]
    assert [path.name for path in tmp_path.iterdir()] == ["result.h5"]


@pytest.mark.parametrize("shapes", [SAME, DIFFERENT], ids=["same", "different"])
def test_a_picture_shows_them(shapes: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    write_results(tmp_path / "result.h5", cases(shapes).items())
    plot_results(tmp_path / "result.h5", tmp_path / "figures" / "predictions.png")
    picture = iio.imread(tmp_path / "figures" / "predictions.png")
    assert picture.shape[1] > picture.shape[0] > 100
    assert picture[..., :3].std() > 10


@pytest.mark.parametrize("shapes", [SAME, DIFFERENT], ids=["same", "different"])
def test_the_first_cases_are_read_alone(shapes: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    write_results(tmp_path / "result.h5", cases(shapes).items())
    read = read_results(tmp_path / "result.h5", 1)
    assert {part: list(found) for part, found in read.items()} == {
        "input": ["a"], "result": ["a"], "truth": ["a"]
    }  # fmt: skip


def test_thousands_of_cases_keep_their_names(tmp_path: Path) -> None:
    one = Volume(np.zeros((1, 1, 1), np.float32), "zyx", np.eye(4))
    names = [f"patient-{number:030d}" for number in range(2000)]
    write_results(tmp_path / "result.h5", ((name, {"result": one}) for name in names))
    assert list(read_results(tmp_path / "result.h5")["result"]) == names
