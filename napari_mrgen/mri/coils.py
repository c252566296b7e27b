"""Receiver coils: what each one sees, and one image out of what they saw."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_NEAREST, _FURTHEST = 1.5, 2.2
"""Distance of the wires from the centre, in halves of the field of view; corners are at 1.42."""
_ROUNDS = 8
"""Of the estimate; after five nothing visible changes."""


def synthetic(coils: int, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw smooth sensitivities of coils that stand around the field of view.

    Each is the field of a long wire across the slice, which falls with the distance and turns its
    phase around the wire. Places and phases are drawn.

    Returns
    -------
    Tensor
        complex64, ``(c, y, x)``, on the generator's device; the sum of squares over coils is 1.
    """
    device = generator.device
    share = (torch.arange(coils, device=device) + _rand(coils, generator)) / coils
    distance = _NEAREST + (_FURTHEST - _NEAREST) * _rand(coils, generator)
    wires = torch.polar(distance, 2 * math.pi * (share + _rand(1, generator)))
    y, x = (torch.linspace(-1, 1, size, device=device) for size in shape)
    fields = 1 / (torch.complex(*torch.meshgrid(y, x, indexing="ij")) - wires[:, None, None])
    phase = 2 * math.pi * _rand(coils, generator)[:, None, None]
    fields = fields * torch.polar(torch.ones_like(phase), phase)
    return fields / root_sum_of_squares(fields)


def expand(images: Tensor, maps: Tensor) -> Tensor:
    """Show images ``(..., y, x)`` as each coil sees them: ``(..., c, y, x)``."""
    return images.unsqueeze(-3) * maps


def combine(images: Tensor, maps: Tensor) -> Tensor:
    """Make one image of those of the coils: the adjoint of `expand`.

    Where the maps' sum of squares is 1 it is also the image of least noise: Roemer et al., Magn
    Reson Med 16:192 (1990).

    Parameters
    ----------
    images
        Complex, ``(..., c, y, x)``.
    maps
        ``(c, y, x)``, or with axes before them as ``images`` has.

    Returns
    -------
    Tensor
        Complex, ``(..., y, x)``.
    """
    return (images * maps.conj()).sum(-3)


def root_sum_of_squares(images: Tensor) -> Tensor:
    """Combine coil images ``(..., c, y, x)`` without maps: real, ``(..., y, x)``."""
    combined: Tensor = torch.linalg.vector_norm(images, dim=-3)
    return combined


def estimate(images: Tensor, width: int = 7) -> Tensor:
    """Estimate sensitivities from coil images: what is the same over a few pixels is the coils'.

    Around each pixel it is the strongest common vector of the coils, found by turns: combine with
    the maps, correlate with what comes out. Walsh et al., Magn Reson Med 43:682 (2000), without
    its matrices, as Inati et al., Proc ISMRM 22:4407 (2014). The phase that all coils share stays
    with the image, where it cannot be told from the coils'.

    Parameters
    ----------
    images
        Complex, ``(..., c, y, x)``; a time average of an undersampled series does.
    width
        Pixels over which sensitivities are taken as constant; odd.

    Returns
    -------
    Tensor
        ``(..., c, y, x)``; the sum of squares over coils is 1.
    """
    maps = images.sum((-2, -1), keepdim=True).expand_as(images)
    for _ in range(_ROUNDS):
        combined = combine(images, maps).unsqueeze(-3)
        maps = blur(images * combined.conj(), width)
        size = root_sum_of_squares(maps).unsqueeze(-3)
        maps = maps / size.clamp_min(torch.finfo(size.dtype).tiny)
    return maps


def blur(images: Tensor, width: int) -> Tensor:
    """Average each pixel with its neighbours, those beyond the edge left out."""
    flat = torch.view_as_real(images).movedim(-1, 0).flatten(0, -3)[:, None]
    for size in ((width, 1), (1, width)):
        padding = (size[0] // 2, size[1] // 2)
        flat = functional.avg_pool2d(flat, size, 1, padding, count_include_pad=False)
    return torch.view_as_complex(flat.view(2, *images.shape).movedim(0, -1).contiguous())


def _rand(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device)
