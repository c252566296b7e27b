"""Where a scan samples k-space."""

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
    """Lay spokes through the centre of k-space, each turned by the same angle from the last.

    The angles run on from frame to frame, so neighbouring frames complete one another.

    Parameters
    ----------
    frames, spokes, samples
        Spokes in a frame, samples along a spoke. A spoke goes from -pi to almost pi through 0, the
        sample ``samples // 2``; twice as many samples as pixels is what scanners read.
    angle
        Between a spoke and the next: "golden", "tiny golden" (of the number ``tiny``: less eddy
        currents) or degrees.
    offset
        Angle of the first spoke in degrees; 0 lies along x.

    Returns
    -------
    Tensor
        ``(frames, spokes * samples, 2)``, the samples of a spoke side by side.
    """
    step = degrees(angle, tiny)
    # In float64: of thousands of spokes the last is turned through many circles.
    turned = torch.arange(frames * spokes, dtype=torch.float64, device=device) * step + offset
    turned = turned.deg2rad()
    radius = torch.arange(samples, dtype=torch.float64, device=device) - samples // 2
    radius = radius * (2 * math.pi / samples)
    directions = torch.stack([turned.sin(), turned.cos()], -1)
    points = directions[:, None] * radius[:, None]
    return points.reshape(frames, spokes * samples, 2).float()


def degrees(angle: Angle, tiny: int = 7) -> float:
    """Return an angle that has a name, or is in degrees already; ``tiny`` as for `radial`."""
    number = {"golden": 1, "tiny golden": tiny}.get(str(angle))
    return float(angle) if number is None else golden_angle(number)


def golden_angle(number: int = 1) -> float:
    """Return the golden angle of this number in degrees: 1 gives 111.25, 7 the tiny 23.63.

    Any run of spokes that are turned by it covers the circle almost evenly. Winkelmann et al.,
    IEEE TMI 26:68 (2007); Wundrak et al., Magn Reson Med 75:2372 (2016).
    """
    if number < 1:
        msg = f"Golden angle: expected a number from 1 on, got {number}"
        raise ValueError(msg)
    ratio = (1 + math.sqrt(5)) / 2
    return 180 / (ratio + number - 1)
