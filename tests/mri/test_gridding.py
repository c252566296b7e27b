import math

import pytest
import torch

from napari_mrgen.mri.gridding import moving_average, radial_weights, zero_filled
from napari_mrgen.mri.nufft import adjoint, forward
from napari_mrgen.mri.trajectories import radial

SHAPE = (64, 64)


def again(image: torch.Tensor, trajectory: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sample images ``(t, y, x)``, and put them together with the weights."""
    series = image[:, None].to(torch.complex64)
    samples = weights[:, None] * forward(series, trajectory)
    return adjoint(samples, trajectory, SHAPE)[:, 0].real


def scale(made: torch.Tensor, image: torch.Tensor) -> float:
    """The factor of the image that is closest to what was made."""
    return float((made * image).sum() / image.square().sum())


@pytest.mark.parametrize("angle", [180 / 101, "golden", "tiny golden"])
def test_a_full_radial_trajectory_gives_the_phantom_back(heart, angle):
    trajectory = radial(1, 101, 128, angle=angle)
    weights = radial_weights(trajectory)
    image = heart[:1]
    made = again(image, trajectory, weights)
    assert scale(made, image) == pytest.approx(1, abs=0.01)
    assert float(made.sum() / image.sum()) == pytest.approx(1, abs=0.02)
    assert (made - image).norm() < 0.08 * image.norm()


def test_weights_are_areas_of_k_space():
    disc = math.pi**3 / (2 * math.pi) ** 2
    trajectory = radial(2, 101, 128, angle=180 / 101)
    assert radial_weights(trajectory).sum(1).tolist() == pytest.approx([disc] * 2, rel=1e-3)


def test_frames_weighed_alone_weigh_right_together():
    frames = radial(4, 25, 128)
    together = frames.reshape(1, -1, 2)
    torch.testing.assert_close(
        radial_weights(frames).flatten() / 4, radial_weights(together).flatten()
    )


def scanned(series: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Samples, places and weights of 13 spokes a frame."""
    trajectory = radial(len(series), 13, 128, angle="tiny golden")
    samples = forward(series[:, None].to(torch.complex64), trajectory)
    return samples, trajectory, radial_weights(trajectory)


@pytest.mark.parametrize("circular", [False, True])
def test_all_frames_of_a_static_series_are_its_time_average(heart, circular):
    zero_fill = zero_filled(*scanned(heart[:1].expand(5, -1, -1)), SHAPE)
    shared = moving_average(zero_fill, 5, circular=circular)
    average = zero_fill.mean(0)
    torch.testing.assert_close(shared, average.expand_as(shared))
    # 65 spokes are nearly enough for 64 pixels.
    assert (average[0].real - heart[0]).norm() < 0.15 * heart[0].norm()


def test_frames_together_are_what_all_their_spokes_give(heart):
    samples, trajectory, _ = scanned(heart)
    together = trajectory.reshape(1, -1, 2)
    weighted = samples[:, 0].reshape(1, 1, -1) * radial_weights(together)[:, None]
    expected = adjoint(weighted, together, SHAPE)[0]
    average = zero_filled(*scanned(heart), SHAPE).mean(0)
    assert (average - expected).norm() < 1e-4 * expected.norm()


def test_windows_stay_inside_or_go_round():
    series = torch.arange(5.0)[:, None]
    assert moving_average(series, 3).flatten().tolist() == pytest.approx([1, 1, 2, 3, 3])
    assert moving_average(series, 4).flatten().tolist() == pytest.approx([1.5, 1.5, 1.5, 2.5, 2.5])
    around = moving_average(series, 3, circular=True).flatten().tolist()
    assert around == pytest.approx([5 / 3, 1, 2, 3, 7 / 3])


@pytest.mark.parametrize("window", [0, 6])
def test_a_window_longer_than_the_series_is_refused(window):
    with pytest.raises(ValueError, match=f"1 to 5 frames, got {window}"):
        moving_average(torch.zeros(5, 1), window)


def test_gradients(draw):
    trajectory = radial(3, 2, 6).double()
    weights = radial_weights(trajectory)
    samples = draw(3, 1, 12).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: moving_average(zero_filled(s, trajectory, weights, (3, 3)), 2), samples
    )
