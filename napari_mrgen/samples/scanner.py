"""What a scanner adds to an ideal picture: sampling in k-space, coil shading, Rician noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[Any]
"""float32 over space, or what broadcasts to it."""


def soft(distance: Field, width: float) -> Field:
    """Return 1 inside and 0 outside of a signed distance, over an edge of this width."""
    return np.asarray(np.clip(0.5 - distance / np.float32(width), 0, 1))


def paint(picture: Field, value: Field | float, cover: Field) -> Field:
    """Lay a tissue over a picture; ``cover`` is the share of each voxel that it fills."""
    return picture + (value - picture) * cover


def smooth_noise(
    shape: tuple[int, ...], length: float, generator: np.random.Generator, band: float = 0.0
) -> Field:
    """Return noise of unit variance that varies over ``length`` voxels.

    ``band`` above 0 takes the slow variations away too, and leaves ripples of one wavelength.
    """
    white = generator.standard_normal(shape).astype(np.float32)
    radius = np.sqrt(sum(f**2 for f in _frequencies(shape))) * length
    gain = np.exp(-((radius - band) ** 2) * 2)
    noise = np.fft.irfftn(np.fft.rfftn(white) * gain, shape, tuple(range(len(shape))))
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def sample_k_space(picture: Field, axes: tuple[int, ...]) -> Field:
    """Keep the k-space that a scan would fill: edges get their slight blur and ringing."""
    shape = tuple(picture.shape[axis] for axis in axes)
    radius = np.sqrt(sum(f**2 for f in _frequencies(shape)))
    window = 1 / (1 + np.exp((radius - 0.46) / 0.02))
    return np.fft.irfftn(np.fft.rfftn(picture, axes=axes) * window, shape, axes).astype(np.float32)


def add_rician_noise(picture: Field, sigma: float, generator: np.random.Generator) -> Field:
    """Return the magnitude of the picture with complex Gaussian noise."""
    real = generator.standard_normal(picture.shape, np.float32) * np.float32(sigma) + picture
    imaginary = generator.standard_normal(picture.shape, np.float32) * np.float32(sigma)
    return np.asarray(np.hypot(real, imaginary))


def _frequencies(shape: tuple[int, ...]) -> list[npt.NDArray[np.float64]]:
    """Return the frequencies along each axis of a real transform, in cycles a voxel."""
    last = np.fft.rfftfreq(shape[-1])
    return list(
        np.meshgrid(*(np.fft.fftfreq(n) for n in shape[:-1]), last, indexing="ij", sparse=True)
    )
