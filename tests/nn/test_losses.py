import pytest
import torch

from napari_mrgen.nn.losses import charbonnier, log_mse, spectral_loss


def test_charbonnier_is_nearly_the_absolute_error():
    error = torch.tensor([-2.0, 0.0, 4.0])
    assert float(charbonnier(error)) == pytest.approx(2, abs=0.02)
    assert float(charbonnier(torch.zeros(3))) == pytest.approx(0, abs=1e-7)


def test_without_a_width_it_is_the_absolute_error_and_has_a_gradient_at_zero():
    error = torch.tensor([-2.0, 0.0, 4.0], requires_grad=True)
    loss = charbonnier(error, 0)
    loss.backward()
    assert float(loss.detach()) == 2
    assert torch.isfinite(error.grad).all()


def test_weights_choose_what_counts():
    error = torch.tensor([1.0, 3.0, 100.0])
    assert float(charbonnier(error, 0, torch.tensor([1.0, 1.0, 0.0]))) == 2
    assert float(charbonnier(error, 0, torch.zeros(3))) == 0


def test_spectral_loss_sees_missing_noise():
    noise = torch.randn(2, 5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert float(spectral_loss(0.1 * noise, noise, (0.1, 0.5))) == pytest.approx(2, abs=0.01)
    assert float(spectral_loss(noise, noise, (0.1, 0.5))) == 0


def test_halving_an_error_gains_the_same_whatever_its_size() -> None:
    errors = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) + 1
    gains = [
        log_mse(s * errors, 2, floor=0.0) - log_mse(s / 2 * errors, 2, floor=0.0) for s in (1, 9)
    ]
    assert torch.allclose(gains[0], gains[1])
    assert torch.allclose(gains[0], torch.tensor(4.0).log())


def test_the_log_error_is_finite_where_there_is_none() -> None:
    error = torch.zeros(1, 4, 4, requires_grad=True)
    log_mse(error, 2).backward()
    assert torch.isfinite(error.grad).all()
