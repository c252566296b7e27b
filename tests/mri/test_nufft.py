"""The transform against finufft called directly, a second library, and the sum itself."""

from __future__ import annotations

import math
import warnings

import finufft
import numpy as np
import pytest
import torch

from napari_mrgen.mri import coils, nufft
from napari_mrgen.mri.nufft import (
    adjoint,
    forward,
    normal,
    normal_with_coils,
    toeplitz_kernel,
)
from napari_mrgen.mri.trajectories import radial

SHAPES = [(20, 18), (21, 17)]


def relative(made: torch.Tensor, expected: torch.Tensor) -> float:
    return float((made - expected).norm() / expected.norm())


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_finufft_called_directly(draw, spokes, shape):
    series, samples = draw(3, 2, *shape), draw(3, 2, 200)
    sampled, gridded = forward(series, spokes), adjoint(samples, spokes, shape)
    for frame, places in enumerate(spokes):
        y, x = places.T.contiguous().numpy()
        direct = finufft.nufft2d2(y, x, series[frame].numpy(), isign=-1, eps=1e-12)
        np.testing.assert_allclose(sampled[frame].numpy(), direct, atol=1e-9)
        direct = finufft.nufft2d1(y, x, samples[frame].numpy(), shape, isign=1, eps=1e-12)
        np.testing.assert_allclose(gridded[frame].numpy(), direct, atol=1e-9)


def test_agrees_with_a_second_library(draw, spokes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchkbnufft import KbNufft, KbNufftAdjoint
    shape = (20, 18)
    series, samples = draw(3, 2, *shape), draw(3, 2, 200)
    other = KbNufft(im_size=shape, dtype=torch.complex128)
    back = KbNufftAdjoint(im_size=shape, dtype=torch.complex128)
    # It looks its kernel up in a table, which costs it three digits.
    assert relative(forward(series, spokes), other(series, spokes.mT)) < 2e-3
    assert relative(adjoint(samples, spokes, shape), back(samples, spokes.mT)) < 2e-3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("direction", ["forward", "adjoint"])
def test_is_the_sum_over_pixels(draw, spokes, shape, direction):
    values = draw(3, 2, *shape) if direction == "forward" else draw(3, 2, 200)
    by_library = nufft._by_finufft(values, spokes, shape, direction)
    by_products = nufft._by_products(values, spokes, shape, direction)
    torch.testing.assert_close(by_library, by_products, atol=1e-9, rtol=0)


def test_single_precision_is_exact_to_its_rounding(draw):
    trajectory = radial(1, 13, 128)
    series, samples = draw(1, 2, 64, 64), draw(1, 2, 13 * 128)
    single = torch.complex64
    exact = forward(series, trajectory.double())
    assert relative(forward(series.to(single), trajectory), exact) < 5e-5
    exact = adjoint(samples, trajectory.double(), (64, 64))
    assert relative(adjoint(samples.to(single), trajectory, (64, 64)), exact) < 5e-5


def test_the_centre_of_k_space_is_the_sum_of_the_image(draw):
    image = draw(1, 1, 9, 8)
    sample = forward(image, torch.zeros(1, 1, 2))
    torch.testing.assert_close(sample.squeeze(), image.sum())


def test_on_the_grid_it_is_the_centred_fft(draw):
    image = draw(1, 1, 8, 9)
    y, x = (2 * math.pi * (torch.arange(n, dtype=torch.float64) - n // 2) / n for n in (8, 9))
    places = torch.cartesian_prod(y, x)[None]
    shifted = torch.fft.ifftshift(image, (-2, -1))
    expected = torch.fft.fftshift(torch.fft.fft2(shifted), (-2, -1)).flatten(2)
    torch.testing.assert_close(forward(image, places), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.complex64, 1e-5), (torch.complex128, 1e-11)]
)
@pytest.mark.parametrize("coils", [1, 4])
def test_the_adjoint_is_one(draw, dtype, tolerance, coils):
    """The dot-product test: ``<A x, y> = <x, A^H y>``."""
    shape = (64, 60)
    trajectory = radial(2, 13, 128)
    series = draw(2, coils, *shape, dtype=dtype)
    samples = draw(2, coils, trajectory.shape[1], dtype=dtype)
    # Summed in double precision, so that only the transforms are tested.
    sampled = forward(series, trajectory).to(torch.complex128)
    gridded = adjoint(samples, trajectory, shape).to(torch.complex128)
    one = torch.vdot(sampled.flatten(), samples.flatten().to(torch.complex128))
    other = torch.vdot(series.flatten().to(torch.complex128), gridded.flatten())
    assert (one - other).abs() < tolerance * sampled.norm() * samples.norm()


def test_gradients_and_gradients_of_gradients(draw):
    places = radial(2, 1, 4).double()
    series = draw(2, 1, 3, 2).requires_grad_()
    samples = draw(2, 1, 4).requires_grad_()
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda x: forward(x, places), series)
        assert check(lambda y: adjoint(y, places, (3, 2)), samples)


def test_values_may_be_views_and_conjugates(draw, spokes):
    series = draw(2, 20, 18, 3).permute(3, 0, 1, 2)
    torch.testing.assert_close(forward(series, spokes), forward(series.contiguous(), spokes))
    plain = series.conj().resolve_conj().contiguous()
    torch.testing.assert_close(forward(series.conj(), spokes), forward(plain, spokes))


@pytest.mark.parametrize(
    ("series", "trajectory", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 2), "expected complex series"),
        (torch.zeros(1, 4, 4, dtype=torch.complex64), torch.zeros(2, 3, 2), "complex series"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.complex64), torch.zeros(1, 3, 2), r"\(2, k, 2\)"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.complex64), torch.zeros(2, 2, 3), r"\(2, k, 2\)"),
    ],
)
def test_what_does_not_fit_is_refused(series, trajectory, message):
    with pytest.raises(ValueError, match=message):
        forward(series, trajectory)


def test_samples_without_a_position_are_refused(draw, spokes):
    with pytest.raises(ValueError, match="199 samples a frame, 200 positions"):
        adjoint(draw(3, 1, 199), spokes, (4, 4))


def test_a_gradient_to_the_trajectory_is_refused_not_forgotten(draw, spokes):
    with pytest.raises(ValueError, match="detach it"):
        forward(draw(3, 1, 4, 4), spokes.requires_grad_())


@pytest.mark.parametrize("shape", [(20, 18), (21, 17)])
def test_the_normal_operator_is_sampling_weighing_and_adding_up(draw, spokes, shape):
    series = draw(3, 2, *shape)
    weights = draw(3, 200).abs()
    expected = adjoint(weights[:, None] * forward(series, spokes), spokes, shape)
    made = normal(series, toeplitz_kernel(spokes, weights, shape))
    assert (made - expected).norm() < 1e-10 * expected.norm()


def test_the_normal_operator_in_single_precision(draw, spokes):
    series = draw(3, 2, 20, 18, dtype=torch.complex64)
    weights = draw(3, 200).abs().float()
    expected = adjoint(weights[:, None] * forward(series, spokes), spokes, (20, 18))
    made = normal(series, toeplitz_kernel(spokes, weights, (20, 18)))
    assert made.dtype == torch.complex64
    assert (made - expected).norm() < 1e-4 * expected.norm()


def test_the_normal_operator_of_coils_is_seen_by_coils_and_combined(draw, spokes):
    series, maps = draw(3, 20, 18), draw(2, 20, 18)
    spectrum = toeplitz_kernel(spokes, draw(3, 200).abs(), (20, 18))
    expected = coils.combine(normal(coils.expand(series, maps), spectrum), maps)
    torch.testing.assert_close(normal_with_coils(series, maps, spectrum), expected)


def test_the_normal_operator_is_hermitian_and_not_negative(draw, spokes):
    one, other = draw(3, 1, 12, 12), draw(3, 1, 12, 12)
    spectrum = toeplitz_kernel(spokes, torch.ones(3, 200, dtype=torch.float64), (12, 12))
    left = torch.vdot(one.flatten(), normal(other, spectrum).flatten())
    right = torch.vdot(normal(one, spectrum).flatten(), other.flatten())
    torch.testing.assert_close(left, right)
    assert torch.vdot(one.flatten(), normal(one, spectrum).flatten()).real > 0


def test_gradients_of_the_normal_operator_by_images_and_weights(draw, spokes):
    series = draw(3, 1, 3, 4).requires_grad_()
    weights = draw(3, 6).abs().requires_grad_()
    places = spokes[:, :6]
    assert torch.autograd.gradcheck(
        lambda x, w: normal(x, toeplitz_kernel(places, w, (3, 4))), (series, weights)
    )
