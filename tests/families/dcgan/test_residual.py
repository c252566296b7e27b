from __future__ import annotations

import torch

from napari_mrgen.families.dcgan.networks import DownBlock, UpBlock, batch_deviation, modulate


def test_blocks_double_and_halve_the_resolution() -> None:
    x = torch.rand(2, 6, 8, 12)
    assert UpBlock(6, 4, 5)(x, torch.rand(2, 5)).shape == (2, 4, 16, 24)
    assert DownBlock(6, 4)(x).shape == (2, 4, 4, 6)


def test_modulation_normalises_features() -> None:
    x, film = torch.rand(2, 6, 8, 8) + 0.1, torch.rand(2, 12)
    torch.testing.assert_close(modulate(x, film), modulate(10 * x, film), atol=1e-4, rtol=1e-4)


def test_an_up_block_leaves_no_checkerboard() -> None:
    """What is even stays even: no pixel is reached by more of the kernel than its neighbour."""
    up = UpBlock(3, 3, 2)(torch.ones(1, 3, 8, 8), torch.ones(1, 2))[..., 4:-4, 4:-4]
    torch.testing.assert_close(up, up[..., :1, :1].expand_as(up), atol=1e-5, rtol=1e-5)


def test_images_that_are_alike_have_no_deviation() -> None:
    one, other = torch.rand(1, 3, 4, 4), torch.rand(4, 3, 4, 4)
    alike = batch_deviation(one.expand(4, -1, -1, -1))
    differing = batch_deviation(other)
    torch.testing.assert_close(differing[:, :3], other)
    assert alike[:, 3].max() < 1e-3 < differing[:, 3].min()
