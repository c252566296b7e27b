import pytest
import torch

from napari_mrgen.mri.gridding import ramp
from napari_mrgen.mri.nufft import adjoint, forward
from napari_mrgen.mri.sharing import moving_average, time_average, view_share, zero_fill
from napari_mrgen.mri.trajectories import radial

SHAPE = (64, 64)


def scanned(series: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Samples, places and weights of 13 spokes a frame."""
    trajectory = radial(len(series), 13, 128, angle="tiny golden")
    samples = forward(series[:, None].to(torch.complex64), trajectory)
    return samples, trajectory, ramp(trajectory)


def test_a_window_of_one_is_zero_filling(heart):
    scan = scanned(heart)
    shared = view_share(*scan, window=1, shape=SHAPE)
    torch.testing.assert_close(shared, zero_fill(*scan, SHAPE))


@pytest.mark.parametrize("circular", [False, True])
def test_all_frames_of_a_static_series_are_its_time_average(heart, circular):
    scan = scanned(heart[:1].expand(5, -1, -1))
    shared = view_share(*scan, window=5, shape=SHAPE, circular=circular)
    average = time_average(*scan, SHAPE)
    torch.testing.assert_close(shared, average.expand_as(shared))
    # 65 spokes are nearly enough for 64 pixels.
    assert (average[0].real - heart[0]).norm() < 0.15 * heart[0].norm()


def test_frames_together_are_what_all_their_spokes_give(heart):
    samples, trajectory, _ = scanned(heart)
    together = trajectory.reshape(1, -1, 2)
    weighted = samples[:, 0].reshape(1, 1, -1) * ramp(together)[:, None]
    expected = adjoint(weighted, together, SHAPE)[0]
    average = time_average(*scanned(heart), SHAPE)
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
    weights = ramp(trajectory)
    samples = draw(3, 1, 12).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: view_share(s, trajectory, weights, 2, (3, 3)), samples
    )
