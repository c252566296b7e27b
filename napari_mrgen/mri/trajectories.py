"""Sampling trajectories in k-space."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Angle = Literal["golden", "tiny golden"] | float


def radial(
    frames: int,
    spokes: int,
    samples: int,
    *,
    angle: Angle = "golden",
    tiny: int = 7,
    offset: float = 0.0,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return spokes through the centre of k-space, with a constant azimuthal increment.

    The angles run on from frame to frame, so neighbouring frames complete one another.

    Parameters
    ----------
    frames, spokes, samples
        Frames, spokes in a frame, samples along a spoke. A spoke goes from -pi to almost pi through
        0, its sample ``samples // 2``; scanners read twice as many samples as pixels.
    angle
        Azimuthal increment: "golden", "tiny golden" (of the number ``tiny``: smaller eddy currents)
        or degrees.
    offset
        Angle of the first spoke in degrees; 0 lies along x.

    Returns
    -------
    Tensor
        ``(frames, spokes * samples, 2)``, the samples of a spoke side by side.

    Examples
    --------
    >>> trajectory = radial(frames=2, spokes=13, samples=256, angle="tiny golden")
    >>> trajectory.shape
    torch.Size([2, 3328, 2])
    """
    step = increment_degrees(angle, tiny)
    # In float64, since after thousands of spokes the angle is many full circles.
    angles = torch.arange(frames * spokes, dtype=torch.float64, device=device) * step + offset
    angles = angles.deg2rad()
    radius = torch.arange(samples, dtype=torch.float64, device=device) - samples // 2
    radius = radius * (2 * math.pi / samples)
    directions = torch.stack([angles.sin(), angles.cos()], -1)
    points = directions[:, None] * radius[:, None]
    return points.reshape(frames, spokes * samples, 2).float()


def increment_degrees(angle: Angle, tiny: int = 7) -> float:
    """Return an azimuthal increment in degrees, given by name or in degrees; see `radial`."""
    number = {"golden": 1, "tiny golden": tiny}.get(str(angle))
    return float(angle) if number is None else golden_angle(number)


def golden_angle(number: int = 1) -> float:
    """Return the golden angle of this number in degrees.

    Any number of successive spokes covers the circle almost evenly (Winkelmann et al., IEEE TMI
    26:68, 2007; tiny golden angles: Wundrak et al., Magn Reson Med 75:2372, 2016).

    Examples
    --------
    >>> round(golden_angle(1), 2), round(golden_angle(7), 2)
    (111.25, 23.63)
    """
    if number < 1:
        msg = f"Golden angle: expected a number from 1 on, got {number}"
        raise ValueError(msg)
    ratio = (1 + math.sqrt(5)) / 2
    return 180 / (ratio + number - 1)
