"""Receiver coils: sensitivity maps, and the combination of coil images."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_NEAREST, _FURTHEST = 1.5, 2.2
"""Wires lie this far from the centre, in halves of the field of view; corners lie at 1.42."""
_ROUNDS = 8
"""Iterations of the estimate; after five nothing visible changes."""


def simulate_maps(coils: int, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Simulate smooth sensitivities of coils that stand around the field of view.

    Each is the field of a long wire across the slice: it falls with the distance, and its phase
    turns around the wire. Positions and phases are random.

    Returns
    -------
    Tensor
        complex64, ``(c, y, x)``, on the generator's device; the sum of squares over coils is 1.

    Examples
    --------
    >>> maps = simulate_maps(4, (16, 16), torch.Generator().manual_seed(0))
    >>> images = expand(torch.ones(16, 16), maps)
    >>> bool(torch.allclose(root_sum_of_squares(images), torch.ones(16, 16)))
    True
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
    """Multiply images ``(..., y, x)`` by coil sensitivities: ``(..., c, y, x)``."""
    return images.unsqueeze(-3) * maps


def combine(images: Tensor, maps: Tensor) -> Tensor:
    """Combine coil images into one: the adjoint of `expand`.

    Where the maps' sum of squares is 1 it is also the image of least noise (Roemer et al., Magn
    Reson Med 16:192, 1990).

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


def estimate_maps(images: Tensor, width: int = 7) -> Tensor:
    """Estimate sensitivities from coil images, taking them as constant over a few pixels.

    Around each pixel they are the dominant eigenvector of the local coil covariance (Walsh et al.,
    Magn Reson Med 43:682, 2000), found by power iteration without forming the matrices (Inati et
    al., Proc ISMRM 22:4407, 2014): combine with the maps, correlate with the combined image. The
    phase that all coils share stays with the image, since the data do not separate the two.

    Parameters
    ----------
    images
        Complex, ``(..., c, y, x)``; the time average of an undersampled series suffices.
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
    """Average each pixel of a complex image with its neighbours inside the image."""
    flat = torch.view_as_real(images).movedim(-1, 0).flatten(0, -3)[:, None]
    for size in ((width, 1), (1, width)):
        padding = (size[0] // 2, size[1] // 2)
        flat = functional.avg_pool2d(flat, size, 1, padding, count_include_pad=False)
    return torch.view_as_complex(flat.view(2, *images.shape).movedim(0, -1).contiguous())


def _rand(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device)
