"""Tiles give what the whole gives, and where they cannot, no edge shows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from napari_mrgen.nn.sliding_window import tiled

SIDES = st.integers(1, 23)
TILES = st.integers(6, 30)


def noise(*shape: int) -> Tensor:
    return torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(1))


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(SIDES, SIDES, SIDES),
    tile=TILES | st.tuples(TILES, TILES, TILES),
    overlap=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.8]),
)
def test_a_function_of_each_voxel_needs_no_whole(
    shape: tuple[int, int, int], tile: int | tuple[int, int, int], overlap: float
) -> None:
    volume = noise(*shape)
    assert torch.allclose(tiled(torch.exp, volume, tile, overlap), volume.exp(), atol=1e-5)


def test_constants_stay_constant() -> None:
    made = tiled(lambda part: torch.full_like(part, 0.7), noise(29, 17, 31), 12)
    assert float((made - 0.7).abs().max()) < 1e-6


def test_a_function_of_neighbours_needs_its_reach_as_margin() -> None:
    kernel = noise(5, 5, 5)

    def smooth(part: Tensor) -> Tensor:
        return functional.conv3d(part, kernel, padding=2)

    volume = noise(40, 24, 33)
    whole = smooth(volume)
    assert torch.allclose(tiled(smooth, volume, 16, margin=2), whole, rtol=1e-4)
    assert not torch.allclose(tiled(smooth, volume, 16), whole, rtol=1e-2)


def test_no_seam_where_tiles_disagree() -> None:
    """Each tile is 10 % off, up or down: no two neighbours differ by more than 1 %."""
    sign = iter([1, -1] * 500)

    def drifting(part: Tensor) -> Tensor:
        return torch.full_like(part, 1 + 0.05 * next(sign))

    made = tiled(drifting, noise(160, 96, 130), 64)
    assert float(made.max() - made.min()) > 0.08
    for axis in (2, 3, 4):
        assert float(made.diff(dim=axis).abs().max()) < 0.01


def test_no_seam_where_borders_are_wrong() -> None:
    """What a tile shows two voxels from its border is 20 % too dark."""

    def vignetted(part: Tensor) -> Tensor:
        inside = torch.ones_like(part[..., 2:-2, 2:-2, 2:-2])
        return functional.pad(inside, (2,) * 6, value=0.8)

    made = tiled(vignetted, noise(160, 160, 64), 64)[0, 0, 8:-8, 8:-8, 32]
    assert float(made.diff(dim=0).abs().max()) < 0.01
    assert float(tiled(vignetted, noise(160, 64, 64), 64, margin=2)[0, 0, 8:-8, 8, 32].std()) < 1e-6


@pytest.mark.parametrize("tile", [0, 64, (0, 0, 99)])
def test_what_fits_is_mapped_once(tile: int | tuple[int, int, int]) -> None:
    seen = []

    def note(part: Tensor) -> Tensor:
        seen.append(part.shape)
        return torch.cat([part, part], dim=1)

    assert tiled(note, noise(9, 8, 7), tile).shape == (1, 2, 9, 8, 7)
    assert seen == [(1, 1, 9, 8, 7)]


def test_tiles_have_the_length_that_was_asked_for() -> None:
    seen = set()

    def note(part: Tensor) -> Tensor:
        seen.add(tuple(part.shape[2:]))
        return part

    tiled(note, noise(30, 8, 17), 12)
    assert seen == {(12, 8, 12)}


@pytest.mark.parametrize(("overlap", "margin"), [(1.0, 0), (0.25, 3)])
def test_tiles_that_cannot_fade_are_refused(overlap: float, margin: int) -> None:
    with pytest.raises(ValueError, match="expected tiles"):
        tiled(torch.exp, noise(30, 8, 17), 12, overlap, margin)


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(SIDES, SIDES, SIDES), align=st.sampled_from([2, 4]))
def test_a_network_that_folds_voxels_sees_the_grid_of_the_whole(
    shape: tuple[int, int, int], align: int
) -> None:
    def coarse(part: Tensor) -> Tensor:
        """Give every voxel the mean of its block; blocks begin at the tile's corner."""
        padded = [(-side) % align for side in part.shape[2:]]
        full = functional.pad(part, [n for side in reversed(padded) for n in (0, side)])
        blocks = functional.avg_pool3d(full, align)
        z, y, x = part.shape[2:]
        return functional.interpolate(blocks, scale_factor=align)[..., :z, :y, :x]

    volume = noise(*shape)
    made = tiled(coarse, volume, 12, align=align)
    assert torch.allclose(made, coarse(volume), atol=1e-5)
