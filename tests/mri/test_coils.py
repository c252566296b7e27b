import torch

from napari_mrgen.mri.coils import (
    combine,
    estimate_maps,
    expand,
    root_sum_of_squares,
    simulate_maps,
)


def maps(coils: int = 6, shape: tuple[int, int] = (64, 64), seed: int = 0) -> torch.Tensor:
    return simulate_maps(coils, shape, torch.Generator().manual_seed(seed))


def test_the_sum_of_squares_is_one():
    for seed in range(5):
        drawn = maps(seed=seed, shape=(40, 56))
        assert drawn.shape == (6, 40, 56)
        torch.testing.assert_close(root_sum_of_squares(drawn), torch.ones(40, 56))


def test_maps_are_smooth_and_differ():
    drawn = maps()
    assert drawn.diff(dim=-1).abs().max() < 0.1
    assert drawn.diff(dim=-2).abs().max() < 0.1
    likeness = torch.einsum("ayx,byx->ab", drawn.conj(), drawn).abs() / 64**2
    assert likeness.fill_diagonal_(0).max() < likeness.new_tensor(0.2)


def test_they_follow_from_the_generator():
    assert torch.equal(maps(seed=3), maps(seed=3))
    assert not torch.equal(maps(seed=3), maps(seed=4))


def test_combining_undoes_expanding(draw):
    images = draw(3, 2, 64, 64, dtype=torch.complex64)
    assert expand(images, maps()).shape == (3, 2, 6, 64, 64)
    torch.testing.assert_close(combine(expand(images, maps()), maps()), images)
    torch.testing.assert_close(root_sum_of_squares(expand(images, maps())), images.abs())


def test_combining_is_the_adjoint_of_expanding(draw):
    image, coils = draw(64, 64), draw(6, 64, 64)
    drawn = maps().to(torch.complex128)
    left = torch.vdot(expand(image, drawn).flatten(), coils.flatten())
    torch.testing.assert_close(left, torch.vdot(image.flatten(), combine(coils, drawn).flatten()))


def test_estimated_maps_are_the_true_ones_but_for_a_common_phase(heart):
    image = heart[0].to(torch.complex64)
    found = estimate_maps(expand(image, maps()))
    agreement = combine(maps(), found).abs()[heart[0] > 0.1]
    assert agreement.min() > 0.99
    assert agreement.mean() > 0.999
    assert (combine(expand(image, maps()), found).abs() - heart[0]).abs().max() < 0.01


def test_estimates_take_leading_axes_and_dark_pixels(heart):
    series = expand(heart.to(torch.complex64), maps())
    torch.testing.assert_close(estimate_maps(series)[1], estimate_maps(series[1]))
    dark = estimate_maps(torch.zeros(3, 8, 8, dtype=torch.complex64))
    assert torch.all(dark == 0)
