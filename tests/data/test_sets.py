from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from napari_mrgen.data.slice_volumes import real_set
from napari_mrgen.data.slices import SliceSet, SliceSpec
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference
from napari_mrgen.samples import brain


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> SliceSet:
    folder = tmp_path_factory.mktemp("heads")
    for seed in range(2):
        nifti.write(brain(seed)[0], folder / f"{seed}.nii.gz")
    references = tuple(Reference(Path(folder / f"{seed}.nii.gz"), str(seed)) for seed in range(2))
    return SliceSet(references, SliceSpec(size=32))


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_a_real_set_is_evenly_spread_and_small_enough(slices: SliceSet, most: int) -> None:
    found, chosen = real_set(slices, most)
    assert len(found) == len(chosen) <= most
    assert len({after - before for before, after in pairwise(chosen)}) <= 1
    assert found.subjects == tuple(slices.subjects[index] for index in chosen)
