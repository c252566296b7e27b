import torch

from napari_mrgen.families.frame_prediction.warp import warp


def images() -> torch.Tensor:
    return torch.rand(2, 3, 12, 17, generator=torch.Generator().manual_seed(0))


def test_no_displacement_changes_nothing():
    x = images()
    assert torch.allclose(warp(x, torch.zeros(2, 3, 2, 12, 17)), x, atol=1e-5)


def test_displacements_are_pixels_along_x_then_y():
    x = images()
    flow = torch.zeros(2, 3, 2, 12, 17)
    flow[:, :, 0], flow[:, :, 1] = 3, -2
    inside = warp(x, flow)[..., 2:, :-3]
    assert torch.allclose(inside, x[..., :-2, 3:], atol=1e-5)


def test_each_channel_has_its_own_displacement():
    x = images()
    flow = torch.zeros(2, 3, 2, 12, 17)
    flow[:, 1] = 5
    assert torch.allclose(warp(x, flow)[:, [0, 2]], x[:, [0, 2]], atol=1e-5)


def test_edges_are_repeated():
    x = images()
    far = torch.full((2, 3, 2, 12, 17), 1000.0)
    assert torch.allclose(warp(x, far), x[..., -1:, -1:].expand_as(x))
