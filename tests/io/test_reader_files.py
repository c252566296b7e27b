"""Every file of the public NIfTI readers' test suites: its geometry, or why it is refused.

The table ``reader_files.json`` says what is expected; where nibabel reads the file too, both must
put the same values in the same places.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from napari_mrgen.io.nifti import read

HERE = Path(__file__).parent
TABLE: dict[str, dict[str, Any]] = json.loads((HERE / "reader_files.json").read_text("utf-8"))
READABLE = [path for path, row in TABLE.items() if "error" not in row]

SECONDS = 2
BYTES = 500 << 20


@pytest.fixture(scope="module")
def folder(mrgen_data: Path) -> Path:
    folder = mrgen_data / "nifti-reader-tests"
    if not folder.is_dir():
        pytest.skip(f"no {folder.name} in {mrgen_data}")
    return folder


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, dict[str, Any]]:
    """Every file read in a process of its own, under a memory limit."""
    if sys.platform != "linux":
        pytest.skip("memory limits and /proc are Linux's")
    command = [sys.executable, str(HERE / "limited_reader.py"), str(folder)]
    asked = "".join(f"{path}\n" for path in TABLE)
    done = subprocess.run(
        command, input=asked, capture_output=True, text=True, check=True, timeout=200
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row.pop("path"): row for row in rows}


def test_the_table_is_complete(folder: Path) -> None:
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == set(TABLE)


@pytest.mark.parametrize("path", TABLE)
def test_outcome(path: str, outcomes: dict[str, dict[str, Any]]) -> None:
    expected, found = TABLE[path], outcomes[path]
    assert "crash" not in found
    assert found["seconds"] <= SECONDS
    assert found["peak"] <= BYTES
    assert found.get("error") == expected.get("error")
    if "error" not in expected:
        assert (found["axes"], found["shape"]) == (expected["axes"], expected["shape"])
        assert found["dtype"] == expected["dtype"]
        np.testing.assert_allclose(found["affine"], expected["affine"], atol=1e-3)


def test_refusals_are_sentences() -> None:
    for row in TABLE.values():
        if "error" in row:
            assert row["error"].endswith(".")
            assert "\n" not in row["error"]


@pytest.mark.parametrize("path", READABLE)
def test_same_values_in_the_same_places_as_nibabel(path: str, folder: Path) -> None:
    theirs = _nibabel_image(folder / path)
    ours = read(folder / path)
    values = np.asanyarray(theirs.dataobj)
    values = values.reshape(*values.shape, *(1,) * (4 - values.ndim)).astype(np.float64)
    indices = np.stack([range_.ravel() for range_ in _sample_grid(ours.array.shape[-3:])])
    scanner = ours.affine @ np.vstack([indices, np.ones(indices.shape[1])])
    there = np.rint(np.linalg.inv(theirs.affine) @ scanner)[:3].astype(int)
    frames = ours.array.reshape(-1, *ours.array.shape[-3:])
    np.testing.assert_allclose(
        frames[:, *indices].T.astype(np.float64), values[*there], rtol=1e-5, atol=1e-3
    )


def _nibabel_image(path: Path) -> Any:
    if path.name.startswith("minimal2"):  # nibabel does not find a compressed half of a pair
        path = path.with_name("minimal.hdr")
    return nib.load(path)


def _sample_grid(shape: tuple[int, ...]) -> tuple[np.ndarray[Any, Any], ...]:
    """Return indices of at most 7 places along each axis, first and last among them."""
    places = [np.unique(np.linspace(0, n - 1, 7).round().astype(int)) for n in shape]
    return tuple(np.meshgrid(*places, indexing="ij"))
