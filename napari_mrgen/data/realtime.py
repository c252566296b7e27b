"""Real-time radial scans: simulation from a cine, gridding, and averages over frames.

The object is scanned on a finer grid than it is reconstructed on, so that no reconstruction can
invert the simulation itself (the "inverse crime").
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

AVERAGED_FRAMES = (1, 5, 9)
"""Frames averaged in the channels of a network's input; a further channel averages all frames."""
VIEW_SHARED = 2
"""Channel that a network corrects: the average of 9 frames."""
_FINE_GRID = 1.5
"""Grid points a pixel along each side of the simulated object."""
_OVERSAMPLING = 2
"""Samples along a spoke for each pixel."""
_CACHED_KERNELS, _LARGEST_CACHED = 256, 256
"""Number of cached kernels, and the largest side of images whose kernels are cached."""


@dataclass(frozen=True)
class Protocol:
    """Sampling of a real-time scan: golden-angle spokes.

    Attributes
    ----------
    spokes
        Spokes in each frame.
    angle
        Azimuthal increment between spokes.
    first
        Frames scanned before the first one, which set its first angle.

    Examples
    --------
    >>> tuple(Protocol(spokes=13).trajectory(frames=2, size=64).shape)
    (2, 1664, 2)
    """

    spokes: int
    angle: trajectories.Angle = "tiny golden"
    first: int = 0

    def trajectory(self, frames: int, size: int) -> Tensor:
        """Return ``(t, k, 2)`` for images of ``size`` pixels a side, with twofold oversampling."""
        return torch.stack([_frame_trajectory(self, self.first + i, size) for i in range(frames)])

    def weights(self, frames: int, size: int) -> Tensor:
        """Return the density compensation of the samples, ``(t, k)``."""
        return torch.stack([_frame_weights(self, self.first + i, size) for i in range(frames)])

    def kernel(self, frames: int, shape: tuple[int, int]) -> Tensor:
        """Return the kernel of `nufft.normal`, ``(t, 2y, 2x)``."""
        # Angles follow from the frame, so that scans with another first frame share the cache.
        from_start = replace(self, first=0)
        kernel = _frame_kernel if max(shape) <= _LARGEST_CACHED else _frame_kernel.__wrapped__
        return torch.stack([kernel(from_start, self.first + i, shape) for i in range(frames)])


@dataclass(frozen=True)
class RadialSamples:
    """The samples of one slice of a real-time scan."""

    samples: Tensor
    """Complex, ``(t, c, k)``."""
    trajectory: Tensor
    """``(t, k, 2)``."""
    weights: Tensor
    """``(t, k)``."""
    shape: tuple[int, int]
    """Pixels along y and x."""

    def to(self, device: torch.device) -> Self:
        """Return the samples on a device, where they are then gridded."""
        samples, trajectory = self.samples.to(device), self.trajectory.to(device)
        weights = self.weights.to(device)
        return replace(self, samples=samples, trajectory=trajectory, weights=weights)


@dataclass(frozen=True)
class Gridded:
    """A slice that was gridded frame by frame."""

    series: Tensor
    """Zero-filled frames, complex, ``(t, y, x)``; nearly real, since the maps contain the phase."""
    maps: Tensor
    """Coil sensitivities times the smooth phase of the image, complex, ``(c, y, x)``."""


def scan(
    frames: Tensor, protocol: Protocol, maps: Tensor, noise: float, g: torch.Generator
) -> RadialSamples:
    """Simulate the scan of frames ``(t, y, x)``, scaled to about 0..1.

    Parameters
    ----------
    maps
        Coil sensitivities times the smooth phase, complex ``(c, y, x)`` on the fine grid; see
        `random_maps`.
    noise
        Standard deviation of real and imaginary part in an image of the same size that is fully
        sampled on a grid with the same readout time. Spokes are oversampled twofold, and their
        samples are noisier accordingly.
    """
    count, *shape = frames.shape
    fine = refine(frames, (maps.shape[-2], maps.shape[-1]))
    size = max(shape)
    trajectory = protocol.trajectory(count, size)
    steps = torch.tensor([a / b for a, b in zip(shape, fine.shape[-2:], strict=True)])
    # Radians a fine pixel; a sum over fine pixels counts more of them.
    samples = nufft.forward(fine[:, None] * maps, trajectory * steps) * float(steps.prod())
    samples = complex_noise(samples, noise * float(_OVERSAMPLING * np.prod(shape)) ** 0.5, g)
    return RadialSamples(samples, trajectory, protocol.weights(count, size), (shape[0], shape[1]))


def random_maps(count: int, shape: tuple[int, int], g: torch.Generator) -> Tensor:
    """Return random coil sensitivities times a smooth phase, on the fine grid of ``shape``."""
    fine = (round(shape[0] * _FINE_GRID), round(shape[1] * _FINE_GRID))
    maps = coils.simulate_maps(count, fine, g)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in fine), indexing="ij")
    waves = torch.stack([y, x, y * x, y * y - x * x, torch.ones_like(y)])
    phase = torch.einsum("w,wyx->yx", 1.5 * torch.randn(len(waves), generator=g), waves)
    return maps * torch.polar(torch.ones_like(phase), phase)


def refine(frames: Tensor, shape: tuple[int, int]) -> Tensor:
    """Interpolate ``(t, y, x)`` onto a finer grid over the same field of view, about its centre.

    The interpolation is by Catmull-Rom splines.
    """
    y, x = (_spline(a, b) for a, b in zip(frames.shape[-2:], shape, strict=True))
    return y @ frames @ x.T


def grid(radial: RadialSamples) -> Gridded:
    """Grid each frame, and estimate the coil sensitivities from the time average."""
    images = gridding.zero_filled(radial.samples, radial.trajectory, radial.weights, radial.shape)
    average = images.mean(0)
    maps = coils.estimate_maps(average)
    maps = maps * smooth_phase(coils.combine(average, maps))
    return Gridded(coils.combine(images, maps), maps)


def smooth_phase(image: Tensor, width: int = 7) -> Tensor:
    """Return the phase factor of a complex image ``(y, x)`` averaged over ``width`` pixels."""
    phase = coils.blur(image, width).angle()
    return torch.polar(torch.ones_like(phase), phase)


def averaged_channels(series: Tensor) -> Tensor:
    """Stack averages of 1, 5, 9 and all frames: ``(t, y, x)`` to ``(4, t, y, x)``.

    For a gridded series they equal gridding the spokes of these frames together (view sharing).

    Examples
    --------
    >>> series = torch.arange(9.0).view(9, 1, 1)
    >>> averaged_channels(series)[:, 4, 0, 0].tolist()
    [4.0, 4.0, 4.0, 4.0]
    """
    averages = [gridding.moving_average(series, min(n, len(series))) for n in AVERAGED_FRAMES]
    return torch.stack([*averages, series.mean(0).expand_as(series)])


def intensity_scale(series: Tensor) -> float:
    """Return the intensity that becomes 1, from the time average, which has few artefacts."""
    return Scaling.fit(series.mean(0).clamp(min=0).cpu().numpy()).scale


@lru_cache(maxsize=64)
def _spline(size: int, fine: int) -> Tensor:
    """Return the interpolation matrix ``(fine, size)``; ``size // 2`` maps to ``fine // 2``."""
    positions = (torch.arange(fine) - fine // 2) * (size / fine) + size // 2
    before = positions.floor()
    t = (positions - before)[:, None]
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


# A frame's trajectory and kernel are the same for every slice, and the kernel takes longer than the
# scan: both are cached.


@lru_cache(maxsize=4096)
def _frame_trajectory(protocol: Protocol, frame: int, size: int) -> Tensor:
    angle = trajectories.increment_degrees(protocol.angle)
    offset, readout = frame * protocol.spokes * angle, _OVERSAMPLING * size
    return trajectories.radial(1, protocol.spokes, readout, angle=angle, offset=offset)[0]


def _frame_weights(protocol: Protocol, frame: int, size: int) -> Tensor:
    return gridding.radial_weights(_frame_trajectory(protocol, frame, size)[None])[0]


@lru_cache(maxsize=_CACHED_KERNELS)
def _frame_kernel(protocol: Protocol, frame: int, shape: tuple[int, int]) -> Tensor:
    trajectory = _frame_trajectory(protocol, frame, max(shape))[None]
    return nufft.toeplitz_kernel(trajectory, gridding.radial_weights(trajectory), shape)[0]
