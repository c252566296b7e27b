from pathlib import Path

import numpy as np
import pytest

from napari_mrgen.data.checks import find_oddities, show_slices
from napari_mrgen.data.slices import SliceData, SliceSpec
from napari_mrgen.engine.task import Draws
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference
from napari_mrgen.samples import brain


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> list[Reference]:
    folder = tmp_path_factory.mktemp("heads")
    references = []
    for seed in range(3):
        path = folder / f"{seed}.nii.gz"
        nifti.write(brain(seed)[0], path)
        references.append(Reference(path, str(seed)))
    return references


def test_what_is_shown_is_what_is_trained_on(heads: list[Reference]) -> None:
    data = SliceData(heads[:2], heads[2:], SliceSpec(size=32))
    volume = show_slices(data, Draws(("look",)))
    assert (volume.axes, volume.array.shape) == ("nzyx", (16, 1, 32, 32))
    assert volume.spacing == pytest.approx(data.train_slices.spacing)
    again = show_slices(data, Draws(("look",)))
    np.testing.assert_array_equal(volume.array, again.array)


def test_ordinary_scans_are_not_odd(heads: list[Reference]) -> None:
    assert find_oddities(heads) == ()


def test_oddities_are_named(heads: list[Reference], tmp_path: Path) -> None:
    source = brain(5)[0]
    wide = np.diag([4.0, 1, 1, 1])
    odd = {
        "copy": brain(0)[0],
        "flat": source.with_array(np.ones_like(source.array)),
        "thick": source.with_array(source.array, affine=source.affine @ wide),
    }
    for name, volume in odd.items():
        nifti.write(volume, tmp_path / f"{name}.nii.gz")
    references = [Reference(path, path.name) for path in sorted(tmp_path.iterdir())]
    found = find_oddities([*heads, *references])
    assert found == (
        "copy.nii.gz: the same images as 0.nii.gz.",
        "flat.nii.gz: the same value everywhere.",
        "thick.nii.gz: odd voxel size, 8.00 x 2.00 x 2.00 mm (z, y, x).",
    )
