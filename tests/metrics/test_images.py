import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from napari_mrgen.metrics.images import blur, mse, psnr, radial_power, spectral_distance, ssim


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    truth = torch.rand(3, 40, 36, generator=g)
    return (truth + 0.1 * torch.randn(3, 40, 36, generator=g)), truth


def test_psnr_agrees_with_scikit_image(pair):
    prediction, truth = pair
    expected = [
        peak_signal_noise_ratio(t.numpy(), p.numpy(), data_range=2.0)
        for p, t in zip(*pair, strict=True)
    ]
    assert psnr(prediction, truth, data_range=2.0).numpy() == pytest.approx(expected, abs=1e-4)


def test_psnr_of_a_volume_is_of_its_mean_error(pair):
    assert psnr(*pair, dims=3) == pytest.approx(-10 * float(torch.log10(mse(*pair).mean())))


def test_ssim_agrees_with_scikit_image(pair):
    options = {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "data_range": 1.0,
    }
    expected = [
        structural_similarity(t.numpy(), p.numpy(), **options) for p, t in zip(*pair, strict=True)
    ]
    assert ssim(*pair).numpy() == pytest.approx(expected, abs=1e-4)


def test_ssim_agrees_with_torchmetrics():
    g = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 1, 256, 256, generator=g)
    prediction = truth + 0.1 * torch.randn(2, 1, 256, 256, generator=g)
    expected = structural_similarity_index_measure(prediction, truth, data_range=1.0)
    assert float(ssim(prediction, truth).mean()) == pytest.approx(float(expected), abs=1e-3)


def test_ssim_of_an_image_with_itself_is_one(pair):
    assert ssim(pair[0], pair[0]).numpy() == pytest.approx(1)


def test_ssim_needs_a_whole_window():
    with pytest.raises(ValueError, match="at least 11x11 pixels, got 8x20"):
        ssim(torch.zeros(8, 20), torch.zeros(8, 20))


def test_what_is_outside_the_mask_does_not_count(pair):
    prediction, truth = pair
    mask = torch.zeros(40, 36, dtype=torch.bool)
    mask[10:30, 10:30] = True
    spoilt = torch.where(mask, prediction, torch.full_like(prediction, 9.0))
    assert torch.equal(psnr(spoilt, truth, mask=mask), psnr(prediction, truth, mask=mask))
    inner = torch.zeros_like(mask)
    inner[15:25, 15:25] = True
    assert ssim(spoilt, truth, mask=inner).numpy() == pytest.approx(
        ssim(prediction, truth, mask=inner).numpy()
    )


def test_a_mask_of_everything_changes_nothing(pair):
    mask = torch.ones(40, 36)
    assert psnr(*pair, mask=mask).numpy() == pytest.approx(psnr(*pair).numpy(), abs=1e-4)
    assert ssim(*pair, mask=mask).numpy() == pytest.approx(ssim(*pair).numpy(), abs=1e-5)


def test_power_of_white_noise_is_its_variance_at_every_frequency():
    noise = 0.3 * torch.randn(64, 48, 48, generator=torch.Generator().manual_seed(1))
    frequency, power = radial_power(noise, bins=12)
    assert frequency[0] > 0
    assert frequency[-1] < 0.5
    assert power.mean(0)[1:].numpy() == pytest.approx(np.full(11, 0.09), rel=0.1)


def test_power_of_a_wave_lies_at_its_frequency():
    x = torch.arange(64)
    wave = torch.cos(2 * torch.pi * 0.25 * x).expand(64, 64)
    frequency, power = radial_power(wave)
    assert float(frequency[power.argmax()]) == pytest.approx(0.25, abs=1 / 64)


def test_doubling_the_contrast_is_a_spectral_distance_of_a_constant(pair):
    images = pair[1]
    expected = 2 * np.log10(2)
    assert float(spectral_distance(2 * images, images)) == pytest.approx(expected, abs=1e-5)
    assert float(spectral_distance(images, images)) == 0


def test_blur_agrees_with_scipy_and_keeps_the_mean(pair):
    from scipy.ndimage import gaussian_filter

    image = pair[1][0]
    expected = gaussian_filter(image.numpy(), 2.0, mode="wrap", truncate=8)
    assert blur(image, 2.0).numpy() == pytest.approx(expected, abs=1e-4)
    assert float(blur(image, 5.0).mean()) == pytest.approx(float(image.mean()), abs=1e-5)
