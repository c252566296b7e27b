"""What the results of a scan are called."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from napari_mrgen.app.cases import cases_of
from napari_mrgen.io.find import find_series


def test_series_of_a_file_are_called_by_it_and_their_place(tmp_path: Path) -> None:
    for name in ("one.h5", "two.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["imagesRecon"] = np.zeros((2, 8, 8, 3), np.float32)
    cases = cases_of("undersampled", find_series(tmp_path))
    names = ["one-000000", "one-000001", "two-000000", "two-000001"]
    assert [case.name for case in cases] == [case.scan_name for case in cases] == names
    read = [one.read() for one in find_series(tmp_path)]  # Results add to the name of their source.
    assert [volume.name for volume in read] == names
