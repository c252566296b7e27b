import pytest
import torch

from napari_mrgen.nn.discriminators import PatchDiscriminator, gradient_penalty, hinge_loss


def test_patches_overlap_at_an_eighth_of_the_resolution():
    assert PatchDiscriminator(6, width=8)(torch.zeros(2, 6, 32, 48)).shape == (2, 1, 4, 6)


def test_hinge_loss_is_zero_once_real_and_fake_are_told_apart():
    sure = torch.full((3,), 1.5)
    assert hinge_loss(sure, -sure) == 0
    assert hinge_loss(-sure, sure) == 5


def test_penalty_is_the_squared_gradient():
    x = torch.ones(4, 3, requires_grad=True)
    assert float(gradient_penalty((2 * x).sum(1), x)) == pytest.approx(12)
