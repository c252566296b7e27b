"""Simulated scans: right in position, scale and noise."""

from __future__ import annotations

import pytest
import torch

from napari_mrgen.data import realtime
from napari_mrgen.data.realtime import Protocol
from napari_mrgen.metrics.images import psnr
from napari_mrgen.mri import coils, gridding, nufft

SIZE = 48


@pytest.fixture(scope="module")
def disc() -> torch.Tensor:
    """Two frames of a smooth, lopsided blob on a darker one."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, SIZE),) * 2, indexing="ij")
    blob = 0.4 * torch.exp(-4 * (y**2 + x**2)) + 0.5 * torch.exp(-30 * ((y - 0.3) ** 2 + x**2))
    return torch.stack([blob, blob.flip(0)])


def gridded(frames: torch.Tensor, protocol: Protocol, noise: float = 0.0) -> realtime.Gridded:
    g = torch.Generator().manual_seed(0)
    maps = realtime.random_maps(3, (SIZE, SIZE), g)
    return realtime.grid(realtime.scan(frames, protocol, maps, noise, g))


def test_many_spokes_give_the_series_back_in_place_and_scale(disc: torch.Tensor) -> None:
    series = gridded(disc[:1], Protocol(99)).series
    assert float(psnr(series.real, disc[:1], dims=3)) > 34
    assert float(series.imag.abs().mean()) < 0.1 * float(series.real.abs().mean())


def test_refining_keeps_what_lies_on_both_grids(disc: torch.Tensor) -> None:
    fine = realtime.refine(disc, (2 * SIZE, 2 * SIZE))
    torch.testing.assert_close(fine[:, ::2, ::2], disc, atol=1e-5, rtol=0)


def test_samples_are_as_noisy_as_their_shares_of_an_image_say() -> None:
    silent, spokes = torch.zeros(8, SIZE, SIZE), 75
    g = torch.Generator().manual_seed(0)
    maps = realtime.random_maps(2, (SIZE, SIZE), g)
    full = realtime.scan(silent, Protocol(spokes), maps, 0.1, g)
    # Sampled on a grid, each of n samples would have a share of 1 / n: an image of that noise.
    assert float(full.samples.real.std()) == pytest.approx(0.1 * (2 * SIZE**2) ** 0.5, rel=0.02)
    images = gridding.zero_filled(full.samples, full.trajectory, full.weights, full.shape)
    expected = 0.1 * (2 * SIZE**2) ** 0.5 * float(full.weights[0].norm())
    assert float(images.real.std()) == pytest.approx(expected, rel=0.05)


def test_channels_are_averages_of_the_first() -> None:
    series = torch.rand(12, 4, 4)
    channels = realtime.averaged_channels(series)
    assert channels.shape == (4, 12, 4, 4)
    torch.testing.assert_close(channels[0], series)
    torch.testing.assert_close(channels[2, 6], series[2:11].mean(0))
    torch.testing.assert_close(channels[3, 0], series.mean(0))


def test_a_short_series_has_all_channels() -> None:
    assert realtime.averaged_channels(torch.rand(3, 4, 4)).shape == (4, 3, 4, 4)


def test_a_scan_that_begins_later_goes_on_with_the_angles() -> None:
    whole = Protocol(5).trajectory(4, 16)
    later = Protocol(5, first=2).trajectory(2, 16)
    torch.testing.assert_close(whole[2:], later, atol=1e-4, rtol=0)


def test_the_kernel_is_that_of_the_trajectory() -> None:
    protocol = Protocol(4, first=3)
    places, weights = protocol.trajectory(2, 16), protocol.weights(2, 16)
    expected = nufft.toeplitz_kernel(places, weights, (16, 16))
    torch.testing.assert_close(protocol.kernel(2, (16, 16)), expected)


def test_maps_have_unit_size() -> None:
    maps = realtime.random_maps(3, (16, 20), torch.Generator().manual_seed(0))
    size = coils.root_sum_of_squares(maps)
    torch.testing.assert_close(size, torch.ones_like(size))
