"""The published networks, and the unrolled one with data consistency."""

from __future__ import annotations

import pytest
import torch

from napari_mrgen.data.realtime import Protocol
from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.networks import (
    folded,
    normal_operator,
    reconstructor_networks,
    unfolded,
)
from napari_mrgen.mri import coils, nufft

PUBLISHED = {
    "published": 22_576_161,
    "unet3d_old": 25_883_681,
    "unet2d1d": 5_839_329,
    "unet2d2d": 8_456_673,
}


def build(**values: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return reconstructor_networks(ReconstructionConfig.parse(values), ())["reconstructor"].eval()


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_published_networks_have_the_published_number_of_parameters(name: str, count: int) -> None:
    with torch.device("meta"):
        network = build(network=name, inputs="zero-filled")
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_take_any_size(name: str) -> None:
    network = build(network=name, width=2, depth=3, inputs="zero-filled")
    assert network(torch.zeros(2, 1, 5, 18, 21)).shape == (2, 1, 5, 18, 21)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_residual_may_be_negative(name: str) -> None:
    network = build(network=name, width=2, depth=2, inputs="zero-filled")
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.constant_(network.head.bias, -0.5)
    inputs = torch.rand(1, 1, 4, 16, 16)
    torch.testing.assert_close(network(inputs), inputs - 0.5)


def test_frames_stay_in_order_through_even_kernels_in_time() -> None:
    network = build(network="unet2d1d", width=2, depth=2, inputs="zero-filled")
    inputs = torch.rand(1, 1, 12, 8, 8)
    changed = inputs.clone()
    changed[:, :, 11] += 1
    same = (network(inputs) == network(changed)).flatten(3).all(-1)[0, 0]
    assert bool(same[0])
    assert not bool(same[11])


def test_quick_stays_below_a_million_parameters() -> None:
    from napari_mrgen import families

    quick = families.get("reconstruction").preset("quick")
    networks = families.get("reconstruction").networks(quick, ())
    assert sum(p.numel() for n in networks.values() for p in n.parameters()) <= 1_000_000


def test_an_untrained_unrolled_network_gives_the_view_shared_series() -> None:
    network = build(width=4, consistency_steps=2)
    g = torch.Generator().manual_seed(1)
    inputs = torch.rand(1, 4, 9, 18, 22, generator=g)
    maps = coils.simulate_maps(2, (18, 22), g)[None]
    reconstructed = network(inputs, maps, torch.rand(1, 9, 36, 44, generator=g))
    torch.testing.assert_close(reconstructed, inputs[:, 2:3])


def test_steps_lead_to_the_measured_data() -> None:
    """The true series has no residual; from another one, steps come nearer to the samples."""
    network = build(width=4, consistency_steps=2)
    g = torch.Generator().manual_seed(1)
    true, maps = torch.rand(1, 1, 9, 16, 16, generator=g), coils.simulate_maps(2, (16, 16), g)[None]
    kernel = Protocol(5).kernel(9, (16, 16))[None]
    measured = normal_operator(true, maps, kernel)
    inputs = torch.cat([measured, true, true, true], 1)
    torch.nn.init.constant_(network.steps, 0.5)
    torch.testing.assert_close(network(inputs, maps, kernel), true)
    inputs[:, 2:3] = torch.zeros_like(true)
    reconstructed = network(inputs, maps, kernel)
    left = measured - normal_operator(reconstructed.detach(), maps, kernel)
    assert float(left.norm()) < 0.7 * float(measured.norm())


def test_the_normal_operator_combines_that_of_each_coil() -> None:
    g = torch.Generator().manual_seed(1)
    series, maps = torch.rand(2, 1, 3, 8, 8, generator=g), coils.simulate_maps(2, (8, 8), g)
    kernel = torch.rand(2, 3, 16, 16, generator=g)
    reconstructed = normal_operator(series, torch.stack([maps, maps]), kernel)
    one = nufft.normal(series[1, 0][:, None] * maps, kernel[1])
    torch.testing.assert_close(reconstructed[1, 0], coils.combine(one, maps).real)


def test_unfolding_undoes_folding() -> None:
    x = torch.rand(2, 3, 4, 6, 8)
    assert folded(x).shape == (2, 12, 4, 3, 4)
    torch.testing.assert_close(unfolded(folded(x)), x)
