"""Losses: each is least where the prediction is the truth."""

from __future__ import annotations

import pytest
import torch

from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.tasks import LOSSES, total_loss


@pytest.fixture
def truth() -> torch.Tensor:
    return 0.2 + 0.6 * torch.rand(1, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", LOSSES)
def test_a_nearer_series_has_a_smaller_loss(name: str, truth: torch.Tensor) -> None:
    config = ReconstructionConfig(loss=name, second_loss="none")
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    losses = [float(total_loss(config, truth + s * noise, truth)) for s in (0.01, 0.05, 0.2)]
    assert losses == sorted(losses)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_a_gradient(name: str, truth: torch.Tensor) -> None:
    predicted = (truth + 0.05).requires_grad_()
    total_loss(ReconstructionConfig(loss=name, second_loss="none"), predicted, truth).backward()
    assert predicted.grad is not None
    assert float(predicted.grad.abs().sum()) > 0


def test_a_mixture_is_the_weighted_sum(truth: torch.Tensor) -> None:
    predicted = truth + 0.1
    mixed = ReconstructionConfig(loss="ssim", second_loss="mae", second_weight=0.5)
    expected = LOSSES["ssim"](predicted, truth) + 0.5 * LOSSES["mae"](predicted, truth)
    torch.testing.assert_close(total_loss(mixed, predicted, truth), expected)
