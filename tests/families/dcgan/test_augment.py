from __future__ import annotations

import pytest
import torch

from napari_mrgen.families.dcgan.tasks import augment


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_generator_decides() -> None:
    images = torch.rand(4, 1, 32, 32)
    torch.testing.assert_close(augment(images, generator()), augment(images, generator()))
    assert not torch.equal(augment(images, generator()), augment(images, generator(1)))


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    augment(torch.rand(4, 1, 32, 32, generator=generator()), generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_without_strength_images_stay_as_they_are() -> None:
    images = torch.rand(4, 1, 32, 32)
    assert augment(images, generator(), 0.0) is images


def test_gradients_flow_through() -> None:
    images = torch.rand(4, 1, 32, 32, requires_grad=True)
    augment(images, generator()).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_images_move_but_little() -> None:
    images = torch.zeros(64, 1, 32, 32)
    images[:, :, 16, 16] = 1
    moved = augment(images, generator())
    places = moved.flatten(1).argmax(1)
    shown = moved.flatten(1).amax(1) > 0.5  # Not where the square was cut out.
    rows, columns = (places // 32 - 16)[shown], (places % 32 - 16)[shown]
    assert len(set(rows.tolist())) > 4
    assert max(rows.abs().max(), columns.abs().max()) <= 4


@pytest.mark.parametrize("size", [16, 32, 128])
def test_a_square_is_cut_out(size: int) -> None:
    varied = augment(torch.ones(64, 1, size, size), generator())
    share = (varied == 0).float().mean((1, 2, 3))
    assert share.max() > 0.1
    assert share.max() < 0.45
