"""Which lines of Cartesian k-space each frame of an undersampled series has.

Masks are ``(t, y)``, true where a line is measured; ``mask[:, None, :, None]`` fits samples
``(t, c, y, x)``. Each frame has the lines around the centre, from which coil maps are calibrated.
"""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(
    frames: int, lines: int, acceleration: int, calibration: int, generator: torch.Generator
) -> Tensor:
    """Take each so-manieth line, from frame to frame the next one; the first one is drawn.

    As many frames as the acceleration have all lines together, so their mean has no gaps. Tsao et
    al., Magn Reson Med 50:1031 (2003).

    Parameters
    ----------
    acceleration
        Lines between one that is measured and the next.
    calibration
        Lines around the centre that each frame has besides.
    """
    device = generator.device
    start = torch.randint(acceleration, (1,), generator=generator, device=device)
    frame = torch.arange(frames, device=device)[:, None]
    line = torch.arange(lines, device=device)
    return ((line - frame - start) % acceleration == 0) | _central(lines, calibration, generator)


def variable_density(
    frames: int,
    lines: int,
    acceleration: float,
    calibration: int,
    generator: torch.Generator,
    decay: float = 2.0,
) -> Tensor:
    """Draw each frame's lines anew, most of them near the centre.

    Artefacts then look like noise, as compressed sensing wants it. Lustig et al., Magn Reson Med
    58:1182 (2007).

    Parameters
    ----------
    acceleration
        All lines over those that are measured, calibration included.
    calibration
        Lines around the centre that each frame has.
    decay
        Power of the distance from the edge by which the density of lines falls; 0 is even.
    """
    central = _central(lines, calibration, generator)
    drawn = round(lines / acceleration) - int(central.sum())
    if drawn < 0:
        msg = (
            f"Mask: {calibration} lines for calibration are more than the "
            f"{lines} / {acceleration:g} that are to be measured"
        )
        raise ValueError(msg)
    mask = central.repeat(frames, 1)
    if drawn:
        away = (torch.arange(lines, device=generator.device) - lines // 2).abs()
        density = (1 - away / (lines / 2 + 1)) ** decay * ~central
        chosen = torch.multinomial(density.expand(frames, -1), drawn, generator=generator)
        mask.scatter_(1, chosen, True)
    return mask


def _central(lines: int, count: int, generator: torch.Generator) -> Tensor:
    line = torch.arange(lines, device=generator.device) - lines // 2 + count // 2
    return (line >= 0) & (line < count)
