import math

import pytest
import torch

from napari_mrgen.nn.discriminators import (
    MultiScaleDiscriminator,
    PatchDiscriminator,
    bce_loss,
    gradient_penalty,
    hinge_loss,
    lsgan_loss,
)


def test_patches_overlap_at_an_eighth_of_the_resolution():
    assert PatchDiscriminator(6, width=8)(torch.zeros(2, 6, 32, 48)).shape == (2, 1, 4, 6)


def test_volumes_are_judged_at_each_scale():
    judge = MultiScaleDiscriminator(1, 4, levels=2, scales=2, dims=3)
    fine, coarse = judge(torch.zeros(2, 1, 24, 32, 40))
    assert fine.shape == (2, 1, 6, 8, 10)
    assert coarse.shape == (2, 1, 3, 4, 5)


@pytest.mark.parametrize("shape", [(16, 16, 16), (8, 40, 40)])
def test_gradients_of_small_volumes_are_right_in_bfloat16(shape):
    judge = MultiScaleDiscriminator(1, 8, levels=2, scales=2, dims=3).eval()
    for parameter in judge.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    volume = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    found = []
    for rough in (True, False):
        judge.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=rough):
            logits = judge(volume)
        lsgan_loss([scale.float() for scale in logits], 1.0).backward()
        found.append(torch.cat([p.grad.flatten() for p in judge.parameters()]))
    assert float((found[0] - found[1]).norm() / found[1].norm()) < 0.05


def test_each_scale_counts_alike_in_the_least_squares_loss():
    scales = [torch.ones(1, 1, 8, 8), torch.zeros(1, 1, 2, 2)]
    assert float(lsgan_loss(scales, 1.0)) == pytest.approx(0.5)
    assert float(lsgan_loss(scales, 0.0)) == pytest.approx(0.5)


def test_hinge_loss_is_zero_once_real_and_fake_are_told_apart():
    sure = torch.full((3,), 1.5)
    assert hinge_loss(sure, -sure) == 0
    assert hinge_loss(-sure, sure) == 5


def test_penalty_is_the_squared_gradient():
    x = torch.ones(4, 3, requires_grad=True)
    assert float(gradient_penalty((2 * x).sum(1), x)) == pytest.approx(12)


def test_cross_entropy_is_least_where_the_discriminator_is_as_sure_as_it_shall_be():
    fake = torch.full((4, 1), -20.0)
    sure = torch.tensor(0.9).logit()
    losses = [
        float(bce_loss(logit.expand(4, 1), fake, 0.9)) for logit in (sure - 1, sure, sure + 1)
    ]
    assert min(losses) == losses[1]
    undecided = torch.zeros(4, 1)
    assert float(bce_loss(undecided, undecided)) == pytest.approx(2 * math.log(2))
