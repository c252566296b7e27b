"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Program = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def no_scans_are_shown() -> None:
    """Each test is a session of its own: no scan of an earlier one is open."""
    if shown := sys.modules.get("napari_mrgen.io.shown"):
        shown.forget_shown()


@pytest.fixture(scope="session")
def mrgen_data() -> Path:
    """The folder of real MRI that some tests want: MRGEN_DATA, or shared/data beside this one."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MRGEN_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real MRI at {folder}; set MRGEN_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small cines of three phantom patients."""
    from napari_mrgen.io import nifti
    from napari_mrgen.samples import beating_heart

    folder = tmp_path_factory.mktemp("hearts")
    for patient in range(1, 4):
        cine, _labels = beating_heart(patient, frames=14, slices=2, size=40)
        nifti.write(cine, folder / f"heart-{patient}.nii.gz")
    return folder


@pytest.fixture(scope="session")
def program() -> Program:
    """Run the real program: ``program("families", "--json")``."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "napari_mrgen", *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, **options
        )

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, hearts: Path, program: Program) -> Path:
    """A run folder that the program has trained: tiny, in seconds, for many tests to look at."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    done = program(
        "train", "frame_prediction", "--preset", "tiny", "--input", f"cine={hearts}",
        "--out", folder, "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder
