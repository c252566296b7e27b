import math

import pytest
import torch

from napari_mrgen.mri.gridding import pipe, ramp
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
@pytest.mark.parametrize("method", ["ramp", "pipe"])
def test_a_full_radial_trajectory_gives_the_phantom_back(heart, angle, method):
    trajectory = radial(1, 101, 128, angle=angle)
    weights = ramp(trajectory) if method == "ramp" else pipe(trajectory, SHAPE)
    image = heart[:1]
    made = again(image, trajectory, weights)
    assert scale(made, image) == pytest.approx(1, abs=0.01)
    assert float(made.sum() / image.sum()) == pytest.approx(1, abs=0.02)
    assert (made - image).norm() < 0.08 * image.norm()


def test_weights_are_areas_of_k_space():
    disc = math.pi**3 / (2 * math.pi) ** 2
    trajectory = radial(2, 101, 128, angle=180 / 101)
    assert ramp(trajectory).sum(1).tolist() == pytest.approx([disc] * 2, rel=1e-3)
    assert pipe(trajectory, SHAPE).sum(1).tolist() == pytest.approx([disc] * 2, rel=0.05)


def test_frames_weighed_alone_weigh_right_together():
    frames = radial(4, 25, 128)
    together = frames.reshape(1, -1, 2)
    torch.testing.assert_close(ramp(frames).flatten() / 4, ramp(together).flatten())


def test_on_the_grid_each_sample_is_a_pixel():
    y, x = (2 * math.pi * (torch.arange(n) - n // 2) / n for n in (16, 12))
    weights = pipe(torch.cartesian_prod(y, x)[None], (16, 12))
    inner = weights.view(16, 12)[2:-2, 2:-2]
    torch.testing.assert_close(inner, torch.full_like(inner, 1 / 192), rtol=0.02, atol=0)
