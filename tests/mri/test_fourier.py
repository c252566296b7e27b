import numpy as np
import pytest
import torch

from napari_mrgen.mri.fourier import fft, ifft

SHAPES = [(16, 18), (15, 17), (16, 17)]


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_numpy_and_its_shifts(draw, shape):
    image = draw(2, *shape)
    shifted = np.fft.ifftshift(image.numpy(), axes=(1, 2))
    expected = np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(1, 2))
    np.testing.assert_allclose(fft(image).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_back_and_forth_is_the_identity_and_keeps_the_energy(draw, shape, axes):
    image = draw(3, *shape)
    torch.testing.assert_close(ifft(fft(image, axes), axes), image)
    torch.testing.assert_close(fft(ifft(image, axes), axes), image)
    torch.testing.assert_close(fft(image, axes).norm(), image.norm())


@pytest.mark.parametrize("size", [8, 9])
def test_a_constant_image_is_one_sample_at_the_centre(size):
    samples = fft(torch.ones(size, size, dtype=torch.complex128))
    assert samples[size // 2, size // 2] == pytest.approx(size)
    assert samples.abs().sum() == pytest.approx(size)


def test_gradients(draw):
    image = draw(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(fft, image)
