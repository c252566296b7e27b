import math

import pytest
import torch

from napari_mrgen.mri.noise import complex_noise, rician

DARK = torch.zeros(200, 200)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_both_parts_have_the_deviation_also_after_an_fft():
    noise = complex_noise(DARK.to(torch.complex64), 2.0, generator())
    for values in (noise, torch.fft.fft2(noise, norm="ortho")):
        assert float(values.real.std()) == pytest.approx(2, rel=0.02)
        assert float(values.imag.std()) == pytest.approx(2, rel=0.02)


def test_rician_noise_is_rayleigh_where_it_is_dark_and_normal_where_it_is_bright():
    dark, bright = rician(DARK, 0.1, generator()), rician(DARK + 10, 0.1, generator())
    assert float(dark.mean()) == pytest.approx(0.1 * math.sqrt(math.pi / 2), rel=0.02)
    assert float(dark.min()) >= 0
    assert float(bright.mean()) == pytest.approx(10, rel=1e-3)
    assert float(bright.std()) == pytest.approx(0.1, rel=0.02)


def test_noise_follows_from_the_generator_and_is_none_without_deviation():
    image = torch.rand(5, 5, generator=generator())
    assert torch.equal(rician(image, 0.1, generator()), rician(image, 0.1, generator()))
    assert torch.equal(rician(image, 0, generator()), image)
