"""Real-time radial scans: simulated of any cine, gridded, and put together for a network.

The object is scanned on a finer grid than it is reconstructed on, so no reconstruction can profit
from knowing how the samples were made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from torch import Tensor

from napari_mrgen.data.scaling import Scaling
from napari_mrgen.mri import coils, gridding, nufft, trajectories
from napari_mrgen.mri.noise import complex_noise

SHARED = (1, 5, 9)
"""Frames that are averaged in the channels of a network's input; the last holds all frames."""
BASE = 2
"""The channel that a network corrects: the one of 9 frames."""
_FINER = 1.5
_DENSER = 2
"""Samples along a spoke for each pixel."""
_MOST_KERNELS, _LARGEST_KEPT = 256, 256
"""How many kernels are kept, and of images of which size: a larger one takes long anyway."""


@dataclass(frozen=True)
class Protocol:
    """How a real-time scan samples k-space: spokes that are each turned from the last."""

    spokes: int
    """In each frame."""
    angle: trajectories.Angle = "tiny golden"
    first: int = 0
    """Frames that were scanned before the first: where the angles stand."""

    def trajectory(self, frames: int, size: int) -> Tensor:
        """Return ``(t, k, 2)`` for images of so many pixels a side; readouts are twice as dense."""
        return torch.stack([_places(self, self.first + i, size) for i in range(frames)])

    def weights(self, frames: int, size: int) -> Tensor:
        """Return the shares of k-space that the samples stand for, ``(t, k)``."""
        return torch.stack([_shares(self, self.first + i, size) for i in range(frames)])

    def kernel(self, frames: int, shape: tuple[int, int]) -> Tensor:
        """Return what `nufft.normal` needs, ``(t, 2y, 2x)``."""
        # Angles follow from the frame, so scans that begin elsewhere share what is kept.
        whole = replace(self, first=0)
        make = _kernel if max(shape) <= _LARGEST_KEPT else _kernel.__wrapped__
        return torch.stack([make(whole, self.first + i, shape) for i in range(frames)])


@dataclass(frozen=True)
class Measured:
    """What a real-time scan has measured of one slice."""

    samples: Tensor
    """Complex, ``(t, c, k)``."""
    trajectory: Tensor
    """``(t, k, 2)``."""
    weights: Tensor
    """``(t, k)``."""
    shape: tuple[int, int]
    """Pixels along y and x."""

    def to(self, device: torch.device) -> Self:
        """Bring the samples to a device: what is gridded there stays there."""
        samples, places = self.samples.to(device), self.trajectory.to(device)
        return replace(self, samples=samples, trajectory=places, weights=self.weights.to(device))


@dataclass(frozen=True)
class Gridded:
    """A scan as images: what a reconstruction without a model makes of it."""

    series: Tensor
    """The zero-filled frames, complex, ``(t, y, x)``; near to real, as maps have their phase."""
    maps: Tensor
    """Sensitivities of the coils times the image's smooth phase, complex, ``(c, y, x)``."""


def scan(
    frames: Tensor, protocol: Protocol, maps: Tensor, noise: float, g: torch.Generator
) -> Measured:
    """Simulate the scan of frames ``(t, y, x)``, scaled to about 0..1.

    Parameters
    ----------
    maps
        What the coils see, smooth phase included: complex ``(c, y, x)`` on the fine grid, see
        `draw_maps`.
    noise
        Standard deviation in real and imaginary part of an image of as many pixels that was sampled
        fully, and as fast, on a grid. A spoke's samples are twice as dense, and so noisier.
    """
    count, *shape = frames.shape
    fine = refine(frames, (maps.shape[-2], maps.shape[-1]))
    size = max(shape)
    trajectory = protocol.trajectory(count, size)
    steps = torch.tensor([a / b for a, b in zip(shape, fine.shape[-2:], strict=True)])
    # Radians a fine pixel; a sum over fine pixels counts more of them.
    samples = nufft.forward(fine[:, None] * maps, trajectory * steps) * float(steps.prod())
    samples = complex_noise(samples, noise * float(_DENSER * np.prod(shape)) ** 0.5, g)
    return Measured(samples, trajectory, protocol.weights(count, size), (shape[0], shape[1]))


def draw_maps(count: int, shape: tuple[int, int], g: torch.Generator) -> Tensor:
    """Draw sensitivities of coils and a smooth phase on the fine grid of images of ``shape``."""
    fine = (round(shape[0] * _FINER), round(shape[1] * _FINER))
    maps = coils.simulate_maps(count, fine, g)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in fine), indexing="ij")
    waves = torch.stack([y, x, y * x, y * y - x * x, torch.ones_like(y)])
    phase = torch.einsum("w,wyx->yx", 1.5 * torch.randn(len(waves), generator=g), waves)
    return maps * torch.polar(torch.ones_like(phase), phase)


def refine(frames: Tensor, shape: tuple[int, int]) -> Tensor:
    """Interpolate ``(t, y, x)`` onto a finer grid over the same field of view, about its centre.

    By cubic splines of Catmull and Rom: between pixels there is more than what is reconstructed.
    """
    y, x = (_spline(a, b) for a, b in zip(frames.shape[-2:], shape, strict=True))
    return y @ frames @ x.T


def grid(measured: Measured) -> Gridded:
    """Grid each frame, and estimate what the coils see from the average of all."""
    images = gridding.zero_filled(
        measured.samples, measured.trajectory, measured.weights, measured.shape
    )
    average = images.mean(0)
    maps = coils.estimate_maps(average)
    maps = maps * smooth_phase(coils.combine(average, maps))
    return Gridded(coils.combine(images, maps), maps)


def smooth_phase(image: Tensor, width: int = 7) -> Tensor:
    """Return the phase of a complex image ``(y, x)`` averaged over ``width`` pixels, of size 1."""
    phase = coils.blur(image, width).angle()
    return torch.polar(torch.ones_like(phase), phase)


def channels(series: Tensor) -> Tensor:
    """Put averages of 1, 5, 9 and all frames side by side: ``(t, y, x)`` to ``(4, t, y, x)``.

    Of a gridded series they are what gridding the spokes of so many frames together gives.
    """
    averages = [gridding.moving_average(series, min(n, len(series))) for n in SHARED]
    return torch.stack([*averages, series.mean(0).expand_as(series)])


def scale_of(series: Tensor) -> float:
    """Return the intensity that a network takes for 1: of the time average, which is clean."""
    return Scaling.fit(series.mean(0).clamp(min=0).cpu().numpy()).scale


@lru_cache(maxsize=64)
def _spline(size: int, fine: int) -> Tensor:
    """Return ``(fine, size)``; the pixels at ``size // 2`` and ``fine // 2`` are in one place."""
    places = (torch.arange(fine) - fine // 2) * (size / fine) + size // 2
    before = places.floor()
    t = (places - before)[:, None]
    kernel = 0.5 * torch.cat(
        [
            -t + 2 * t**2 - t**3,
            2 - 5 * t**2 + 3 * t**3,
            t + 4 * t**2 - 3 * t**3,
            -(t**2) + t**3,
        ],
        1,
    )
    columns = (before[:, None] + torch.arange(-1, 3)).long().clamp(0, size - 1)
    return torch.zeros(fine, size).scatter_add_(1, columns, kernel)


# Of a frame each is the same for every slice, and the kernel takes longer than the scan.


@lru_cache(maxsize=4096)
def _places(protocol: Protocol, frame: int, size: int) -> Tensor:
    turned = trajectories.increment_degrees(protocol.angle)
    offset = frame * protocol.spokes * turned
    return trajectories.radial(1, protocol.spokes, _DENSER * size, angle=turned, offset=offset)[0]


def _shares(protocol: Protocol, frame: int, size: int) -> Tensor:
    return gridding.radial_weights(_places(protocol, frame, size)[None])[0]


@lru_cache(maxsize=_MOST_KERNELS)
def _kernel(protocol: Protocol, frame: int, shape: tuple[int, int]) -> Tensor:
    places = _places(protocol, frame, max(shape))[None]
    return nufft.toeplitz_kernel(places, gridding.radial_weights(places), shape)[0]
