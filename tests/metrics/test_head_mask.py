import torch

from napari_mrgen.metrics.images import head_mask


def disc(radius: float, size: int = 64) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return ((y - size / 2).square() + (x - size / 2).square()).sqrt() < radius


def test_dark_parts_inside_belong_to_the_head():
    image = disc(24).float() * 0.6
    image[disc(10)] = 0
    mask = head_mask(image)
    assert mask[disc(23)].all()
    assert not mask[~disc(28)].any()


def test_black_has_no_head():
    assert not head_mask(torch.zeros(2, 1, 16, 16)).any()


def test_faint_noise_is_no_head():
    noise = 0.03 * torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not head_mask(noise).any()
