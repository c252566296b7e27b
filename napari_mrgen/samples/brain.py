"""A head as T1w and T2w MRI: ellipsoids, and a cortex folded along the zeros of a wave of noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_mrgen.samples.scanner import (
    Field,
    add_rician_noise,
    paint,
    sample_k_space,
    smooth_noise,
    soft,
)
from napari_mrgen.volume import Volume, upright_affine

_SHAPE = (84, 104, 84)
_SPACING = 2.0
_SCALE = 800.0

_SIGNAL = {
    "air": (0.0, 0.0),
    "skin": (0.50, 0.30),
    "fat": (0.92, 0.60),
    "muscle": (0.36, 0.22),
    "bone": (0.07, 0.05),
    "marrow": (0.48, 0.30),
    "csf": (0.15, 1.0),
    "grey": (0.50, 0.58),
    "deep grey": (0.56, 0.50),
    "white": (0.76, 0.40),
    "eye": (0.16, 0.95),
}
"""Signal in a T1w and a T2w image."""


@dataclass
class _Canvas:
    """Both contrasts, painted tissue by tissue."""

    picture: Field

    def lay(self, tissue: str, distance: Field, texture: Field | float = 1.0) -> None:
        signal = np.array(_SIGNAL[tissue], np.float32)[:, None, None, None]
        self.picture = paint(self.picture, signal * texture, soft(distance, _SPACING))


@dataclass(frozen=True)
class _Space:
    """Coordinates in mm from the centre of the head: to the right, to the front, up."""

    right: Field
    front: Field
    up: Field

    def ellipsoid(
        self, centre: tuple[float, float, float], radii: tuple[float, float, float]
    ) -> Field:
        """Return about the signed distance from an ellipsoid; inside is negative."""
        offsets = (self.right - centre[0], self.front - centre[1], self.up - centre[2])
        pairs = zip(offsets, radii, strict=True)
        reach = np.sqrt(sum((offset / np.float32(radius)) ** 2 for offset, radius in pairs))
        return np.asarray((reach - 1) * np.float32(np.prod(radii) ** (1 / 3)))

    def pair(self, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Field:
        """Return the same on both sides of the body."""
        mirrored = _Space(np.abs(self.right), self.front, self.up)
        return mirrored.ellipsoid(centre, radii)


def brain(seed: int = 0, *, noise: float = 0.015) -> tuple[Volume, Volume]:
    """Return a T1w and a T2w volume of one head, voxel on voxel, 2 mm.

    Each seed is another cortex in another head. ``noise`` is the standard deviation of the noise,
    of the brightest tissue.
    """
    generator = np.random.default_rng(seed)
    space = _space(generator.uniform(0.96, 1.03, 3))
    canvas = _Canvas(np.zeros((2, *_SHAPE), np.float32))
    _paint_head(canvas, space, generator)
    _paint_cerebrum(canvas, space, generator)
    _paint_hindbrain(canvas, space, generator)
    shading = 1 + 0.12 * smooth_noise(_SHAPE, 60, generator)
    picture = sample_k_space(canvas.picture * shading, (1, 2, 3))
    picture = add_rician_noise(picture, noise, generator)
    return _volume(picture[0], "T1w", seed), _volume(picture[1], "T2w", seed)


def _space(size: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> _Space:
    """Return the coordinates of the voxels, which run down, to the back and to the left."""
    down, back, left = (
        ((np.arange(n) - (n - 1) / 2) * _SPACING * grown).astype(np.float32)
        for n, grown in zip(_SHAPE, size, strict=True)
    )
    return _Space(-left[None, None, :], -back[None, :, None], -down[:, None, None])


def _paint_head(canvas: _Canvas, space: _Space, generator: np.random.Generator) -> None:
    texture = 1 + 0.12 * smooth_noise(_SHAPE, 3, generator)
    patches = smooth_noise(_SHAPE, 7, generator)
    skull = _inside_of_skull(space)
    scalp = space.ellipsoid((0, -3, 8), (70, 90, 68)) - 13
    face = space.ellipsoid((0, 42, -48), (56, 52, 62))
    neck = np.hypot(space.right / 56, (space.front + 14) / 66) * 60 - 60 + 0 * space.up
    neck = np.maximum(neck, space.up + 20)
    head = np.minimum(np.minimum(scalp, face), neck)
    canvas.lay("skin", head)
    canvas.lay("fat", head + 3, texture)
    canvas.lay("muscle", head + 8, texture)
    canvas.lay("fat", np.maximum(head + 10, 4 * (0.6 - patches)), texture)
    sinuses = space.pair((14, 66, -38), (11, 20, 12))
    throat = space.ellipsoid((0, 26, -66), (9, 10, 26))
    canvas.lay("air", np.minimum(sinuses, throat))
    eyes = space.pair((31, 66, -22), (12, 12, 12))
    canvas.lay("fat", eyes - 5)
    canvas.lay("eye", eyes)
    canvas.lay("bone", skull - 6)
    canvas.lay("marrow", np.abs(skull - 3) - 1.2, texture)
    canvas.lay("csf", skull)


def _cerebrum(space: _Space) -> Field:
    hull = np.maximum(space.ellipsoid((0, -2, 12), (65, 84, 60)), -14 - space.up)
    return np.asarray(np.minimum(hull, space.pair((40, 8, -16), (23, 42, 24))))


def _cerebellum(space: _Space) -> Field:
    return space.pair((18, -46, -34), (32, 30, 22))


def _inside_of_skull(space: _Space) -> Field:
    return np.asarray(np.minimum(_cerebrum(space), _cerebellum(space)) - 4)


def _paint_cerebrum(canvas: _Canvas, space: _Space, generator: np.random.Generator) -> None:
    depth = -_cerebrum(space)
    callosum = space.ellipsoid((0, -2, 12), (30, 44, 20))
    fissure = np.maximum(np.abs(space.right) - 0.7, -callosum)
    side = np.abs(space.right)
    sylvian = np.maximum(np.abs(space.up + 6 - 0.25 * space.front) - 1.5, 38 - side)
    sylvian = np.maximum(sylvian, np.abs(space.front - 2) - 32)
    surface = np.minimum(np.minimum(depth - 1, fissure), sylvian)
    folded = _fold(surface, 19.0, 12.0, generator)
    canvas.lay("grey", -folded)
    canvas.lay("white", 3.0 - np.minimum(folded, depth - 1))
    canvas.lay("deep grey", space.pair((11, -10, 6), (8, 14, 9)))
    canvas.lay("deep grey", space.pair((14, 18, 14), (5, 13, 10)))
    canvas.lay("deep grey", space.pair((26, 6, 4), (5, 17, 11)))
    bent = _Space(space.right, space.front, space.up + space.front**2 / 130)
    horns = bent.pair((9, -4, 24), (5.5, 34, 6))
    third = space.ellipsoid((0, -6, 4), (2, 13, 10))
    canvas.lay("csf", np.minimum(horns, third))


def _paint_hindbrain(canvas: _Canvas, space: _Space, generator: np.random.Generator) -> None:
    cerebellum = _cerebellum(space)
    folded = _fold(-cerebellum, 8.0, 11.0, generator)
    canvas.lay("csf", cerebellum - 1)
    canvas.lay("grey", -folded)
    canvas.lay("white", np.maximum(cerebellum + 8, 1.8 - folded))
    stem = np.hypot(space.right, space.front + 18 + 0.12 * (space.up + 30)) - 10
    stem = np.maximum(stem + 0 * space.up, space.up - 2)
    pons = space.ellipsoid((0, -14, -32), (17, 13, 15))
    canvas.lay("csf", np.maximum(stem - 5, space.up + 16))
    canvas.lay("white", np.minimum(stem, pons), 0.92)
    canvas.lay("csf", space.ellipsoid((0, -33, -36), (5, 4, 11)))


def _fold(depth: Field, wavelength: float, reach: float, generator: np.random.Generator) -> Field:
    """Return the depth under a surface that is folded in: about the distance from the fluid.

    Sulci lie where a random wave is zero. With unit variance its slope is the wave number, which
    gives the distance from there; they end ``reach`` mm below the surface.
    """
    wave = smooth_noise(depth.shape, wavelength / _SPACING, generator, band=1.0)
    to_sulcus = np.abs(wave) * (wavelength / (2 * np.pi))
    to_sulcus = to_sulcus + 0.7 * np.clip(depth - reach, 0, None)
    return np.minimum(depth, to_sulcus - 0.6)


def _volume(picture: Field, name: str, seed: int) -> Volume:
    return Volume(
        array=np.rint(picture * _SCALE).astype(np.int16),
        axes="zyx",
        affine=upright_affine((_SPACING,) * 3, _SHAPE),
        name=f"brain {seed} {name}",
        subject=f"brain-{seed:03d}",
    )
