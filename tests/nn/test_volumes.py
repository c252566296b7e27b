from __future__ import annotations

import pytest
import torch

from napari_mrgen.nn.volumes import (
    IntensityMap,
    VolumeUNet,
    cropped_as,
    depth_to_space,
    padded_to,
    recomputed,
    space_to_depth,
)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def stirred(network: torch.nn.Module) -> torch.nn.Module:
    """Give every weight a value: some start at zero, where nothing would be tested."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


def test_voxels_become_channels_and_voxels_again() -> None:
    volume = noise(2, 3, 4, 6, 8)
    folded = space_to_depth(volume)
    assert folded.shape == (2, 24, 2, 3, 4)
    torch.testing.assert_close(folded[:, :8, 0, 0, 0], volume[:, 0, :2, :2, :2].flatten(1))
    assert torch.equal(depth_to_space(folded), volume)


@pytest.mark.parametrize("shape", [(5, 7, 9), (8, 8, 8), (1, 3, 16)])
def test_padding_makes_sides_legal_and_is_undone(shape: tuple[int, int, int]) -> None:
    volume = noise(1, 1, *shape)
    padded = padded_to(volume, 8)
    assert all(side % 8 == 0 for side in padded.shape[2:])
    assert torch.equal(cropped_as(padded, volume), volume)


def test_small_sides_are_padded_too() -> None:
    padded = padded_to(noise(1, 1, 2, 9, 30), 4, 12)
    assert padded.shape[2:] == (12, 12, 32)
    assert torch.equal(cropped_as(padded, noise(1, 1, 2, 9, 30)), noise(1, 1, 2, 9, 30))


def test_an_intensity_map_begins_as_the_identity_and_can_turn_contrast_round() -> None:
    intensity, values = IntensityMap(), torch.linspace(0, 1.2, 50)
    torch.testing.assert_close(intensity(values), values)
    optimizer = torch.optim.Adam(intensity.parameters(), 0.02)
    for _ in range(400):
        optimizer.zero_grad()
        loss = (intensity(values) - torch.sin(3 * values)).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-3


def test_an_untrained_block_changes_nothing_and_a_u_net_keeps_the_shape() -> None:
    features = noise(1, 4, 8, 8, 12)
    network = VolumeUNet((4, 8, 12), 1)
    assert torch.equal(network.ways_down[0](features), features)
    assert network(features).shape == features.shape


def test_checkpointing_changes_no_gradient() -> None:
    found = []
    for checkpointing in (False, True):
        network = stirred(VolumeUNet((4, 8), 1, checkpointing=checkpointing))
        features = noise(1, 4, 4, 4, 4).requires_grad_()
        network(features).square().sum().backward()
        found.append([features.grad, *(p.grad for p in network.parameters())])
    for kept, again in zip(*found, strict=True):
        torch.testing.assert_close(kept, again)


def test_nothing_is_recomputed_where_no_gradient_is_wanted() -> None:
    calls = []

    def part(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        return x * x

    with torch.no_grad():
        recomputed(part, torch.ones(2), on=True)
    assert len(calls) == 1
    recomputed(part, torch.ones(2, requires_grad=True), on=True).sum().backward()
    assert len(calls) == 3


def test_far_voxels_do_not_matter() -> None:
    network = stirred(VolumeUNet((4, 8), 1))
    features = noise(1, 4, 32, 8, 8)
    changed = features.clone()
    changed[:, :, -1] += 5
    near, far = network(changed)[:, :, :8], network(features)[:, :, :8]
    assert torch.equal(near, far)
