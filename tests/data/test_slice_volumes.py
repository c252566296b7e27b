from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_mrgen.data.slice_volumes import (
    BLOCK,
    blocks,
    sample_conditions,
    sample_levels,
    sampled_volume,
)
from napari_mrgen.io.layers import from_layer, to_layer


def test_blocks_hold_every_index_once() -> None:
    for count in (1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK):
        cut = list(blocks(count))
        assert [index for block in cut for index in block] == list(range(count))
        assert max(map(len, cut)) <= BLOCK


def test_a_level_depends_on_its_index_alone() -> None:
    torch.testing.assert_close(sample_levels(range(200))[64:128], sample_levels(range(64, 128)))


@pytest.mark.parametrize("count", [5, 16, 100, 1000])
def test_levels_lie_evenly(count: int) -> None:
    levels = sample_levels(range(count)).sort().values
    even = (torch.arange(count) + 0.5) / count
    assert (levels - even).abs().max() < 2 / count


def test_what_is_not_known_is_not_told() -> None:
    conditions, columns = sample_conditions(torch.tensor([0.25, 0.5]), None, "M")
    torch.testing.assert_close(conditions, torch.tensor([[0.25, 0, 1, 0], [0.5, 0, 1, 0]]))
    assert columns == {"level": [0.25, 0.5], "sex": ["M", "M"]}


@pytest.mark.parametrize(("plane", "across"), [("axial", 2), ("coronal", 1), ("sagittal", 0)])
def test_a_drawn_slice_has_its_size_and_stands_around_the_centre(plane: str, across: int) -> None:
    data = {"spacing_mm": [2.0, 1.5, 1.25], "plane": plane}
    volume = sampled_volume(torch.rand(3, 8, 6), data, "samples")
    assert volume.array.shape == (3, 1, 8, 6)
    assert volume.spacing == pytest.approx((2.0, 1.5, 1.25))
    centre = volume.affine @ [0, 3.5, 2.5, 1]
    np.testing.assert_allclose(centre[:3], 0, atol=1e-12)
    assert abs(volume.affine[across, 0]) == pytest.approx(2.0)


def test_a_drawn_slice_survives_napari() -> None:
    volume = sampled_volume(torch.rand(3, 8, 6), {"spacing_mm": [2.0, 1.5, 1.25]}, "samples")
    back = from_layer(to_layer(volume))
    np.testing.assert_allclose(back.affine, volume.affine)
    assert back.axes == "nzyx"


def test_samples_of_a_model_that_learned_from_png_count_voxels() -> None:
    data = {"spacing_mm": [1, 2, 2], "spacing_known": False}
    layer = to_layer(sampled_volume(torch.zeros(3, 8, 8), data, "samples"))
    assert layer[1]["units"] == ("sample", "voxel", "voxel", "voxel")
    assert layer[1]["scale"] == (1, 1, 2, 2)
