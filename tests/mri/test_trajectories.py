import math

import pytest
import torch

from napari_mrgen.mri.trajectories import golden_angle, radial


def spoke_angles(points: torch.Tensor, samples: int) -> torch.Tensor:
    """Degrees from x towards y of each spoke's first sample, seen from the centre's other side."""
    first = -points.reshape(-1, samples, 2)[:, 0].double()
    return torch.atan2(first[:, 0], first[:, 1]).rad2deg()


@pytest.mark.parametrize(
    ("number", "degrees"), [(1, 111.246), (2, 68.754), (5, 32.039), (7, 23.628)]
)
def test_golden_angles_are_those_of_the_papers(number, degrees):
    assert golden_angle(number) == pytest.approx(degrees, abs=1e-3)


def test_there_is_no_golden_angle_before_the_first():
    with pytest.raises(ValueError, match="from 1 on, got 0"):
        golden_angle(0)


@pytest.mark.parametrize(
    ("angle", "step"), [("golden", golden_angle()), ("tiny golden", golden_angle(7)), (10, 10)]
)
def test_angles_run_on_from_frame_to_frame(angle, step):
    points = radial(4, 5, 16, angle=angle, offset=30)
    expected = 30 + step * torch.arange(20, dtype=torch.float64)
    apart = (spoke_angles(points, 16) - expected + 180) % 360 - 180
    assert apart.abs().max() < 1e-3


def test_a_spoke_goes_through_the_centre_from_edge_to_edge():
    points = radial(1, 3, 32)
    radius = points.view(3, 32, 2).norm(dim=-1)
    assert points.shape == (1, 96, 2)
    assert torch.all(radius[:, 16] == 0)
    assert radius.max() == pytest.approx(math.pi)
    torch.testing.assert_close(radius.diff().abs(), torch.full((3, 31), 2 * math.pi / 32))


def test_the_first_spoke_lies_along_x():
    points = radial(1, 1, 8)[0]
    assert points[:, 0].abs().max() < 1e-6
    assert points[0, 1] == pytest.approx(-math.pi)


def test_a_late_spoke_is_as_exact_as_an_early_one():
    late = spoke_angles(radial(1000, 13, 4), 4)[-1]
    expected = golden_angle() * 12_999
    assert abs((float(late) - expected + 180) % 360 - 180) < 1e-4
