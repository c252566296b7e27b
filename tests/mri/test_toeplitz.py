import pytest
import torch

from napari_mrgen.mri import coils
from napari_mrgen.mri.nufft import adjoint, forward
from napari_mrgen.mri.toeplitz import kernel, normal, normal_of_coils


@pytest.mark.parametrize("shape", [(20, 18), (21, 17)])
def test_is_sampling_weighing_and_adding_up(draw, spokes, shape):
    series = draw(3, 2, *shape)
    weights = draw(3, 200).abs()
    expected = adjoint(weights[:, None] * forward(series, spokes), spokes, shape)
    made = normal(series, kernel(spokes, weights, shape))
    assert (made - expected).norm() < 1e-10 * expected.norm()


def test_single_precision(draw, spokes):
    series = draw(3, 2, 20, 18, dtype=torch.complex64)
    weights = draw(3, 200).abs().float()
    expected = adjoint(weights[:, None] * forward(series, spokes), spokes, (20, 18))
    made = normal(series, kernel(spokes, weights, (20, 18)))
    assert made.dtype == torch.complex64
    assert (made - expected).norm() < 1e-4 * expected.norm()


def test_of_coils_is_seen_by_coils_and_combined(draw, spokes):
    series, maps = draw(3, 20, 18), draw(2, 20, 18)
    spectrum = kernel(spokes, draw(3, 200).abs(), (20, 18))
    expected = coils.combine(normal(coils.expand(series, maps), spectrum), maps)
    torch.testing.assert_close(normal_of_coils(series, maps, spectrum), expected)


def test_is_hermitian_and_not_negative(draw, spokes):
    one, other = draw(3, 1, 12, 12), draw(3, 1, 12, 12)
    spectrum = kernel(spokes, torch.ones(3, 200, dtype=torch.float64), (12, 12))
    left = torch.vdot(one.flatten(), normal(other, spectrum).flatten())
    right = torch.vdot(normal(one, spectrum).flatten(), other.flatten())
    torch.testing.assert_close(left, right)
    assert torch.vdot(one.flatten(), normal(one, spectrum).flatten()).real > 0


def test_gradients_of_images_and_weights(draw, spokes):
    series = draw(3, 1, 3, 4).requires_grad_()
    weights = draw(3, 6).abs().requires_grad_()
    places = spokes[:, :6]
    assert torch.autograd.gradcheck(
        lambda x, w: normal(x, kernel(places, w, (3, 4))), (series, weights)
    )
