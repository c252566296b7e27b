import pytest
import torch

from napari_mrgen.nn.losses import charbonnier, spectral_loss


def test_charbonnier_is_nearly_the_absolute_error():
    error = torch.tensor([-2.0, 0.0, 4.0])
    assert float(charbonnier(error)) == pytest.approx(2, abs=0.02)
    assert float(charbonnier(torch.zeros(3))) == pytest.approx(0, abs=1e-7)


def test_spectral_loss_sees_missing_noise():
    noise = torch.randn(2, 5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert float(spectral_loss(0.1 * noise, noise, (0.1, 0.5))) == pytest.approx(2, abs=0.01)
    assert float(spectral_loss(noise, noise, (0.1, 0.5))) == 0
