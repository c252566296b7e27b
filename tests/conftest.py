"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mrgen_data() -> Path:
    """The folder of real MRI that some tests want: MRGEN_DATA, or shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MRGEN_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real MRI at {folder}; set MRGEN_DATA to run this test")
    return folder
