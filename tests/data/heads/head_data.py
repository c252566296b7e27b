"""Small heads in T1w and T2w, made in a moment, for the tests of what works on pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_mrgen.io import nifti
from napari_mrgen.volume import Volume

SHAPE, SPACING = (40, 46, 38), 4.0
_BRAIN_MM = (62.0, 74.0, 58.0)
_T1, _T2 = (0.2, 0.5, 0.9), (1.0, 0.6, 0.4)
"""Signal of fluid, grey and white matter."""


def head(seed: int = 0, *, skull: bool = False, noise: float = 0.02) -> tuple[Volume, Volume]:
    """Return a T1w and a T2w volume ``zyx`` of one head, 4 mm; without a skull the rest is 0."""
    generator = np.random.default_rng(seed)
    reach = _reach()
    waves = gaussian_filter(generator.normal(size=SHAPE), 1.6)
    tissue = np.digitize(waves / waves.std(), (-0.6, 0.5))
    volumes = []
    for signal, name in ((_T1, "T1w"), (_T2, "T2w")):
        picture = np.array(signal)[tissue] + generator.normal(0, noise, SHAPE)
        picture[reach > 1] = 0
        if skull:
            picture += 0.85 * ((reach > 1.25) & (reach < 1.4))
            picture += np.abs(generator.normal(0, 0.02, SHAPE))
        array = np.rint(picture.clip(0) * 800).astype(np.int16)
        volumes.append(Volume(array, "zyx", _affine(), name=name))
    return volumes[0], volumes[1]


def true_mask() -> np.ndarray:
    return np.asarray(_reach() <= 1)


def write(volume: Volume, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nifti.write(volume, path)
    return path


def write_pair(folder: Path, subject: str, pair: tuple[Volume, Volume]) -> None:
    for volume, contrast in zip(pair, ("T1w", "T2w"), strict=True):
        write(volume, folder / f"{subject}_{contrast}.nii")


def rigid(degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    """Return a (4, 4) matrix of millimetres: turns about three axes, then a shift."""
    matrix = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        turn = np.eye(4)
        one, other = (i for i in range(3) if i != axis)
        turn[one, one] = turn[other, other] = np.cos(angle)
        turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    matrix[:3, 3] = shift
    return matrix


def _reach() -> np.ndarray:
    """Return the distance from the middle, 1 on the surface of the brain."""
    axes = ((np.arange(n) - (n - 1) / 2) * SPACING for n in SHAPE)
    grids = np.meshgrid(*axes, indexing="ij")
    return np.asarray(np.sqrt(sum((g / r) ** 2 for g, r in zip(grids, _BRAIN_MM, strict=True))))


def _affine() -> np.ndarray:
    """Slices run down, rows to the back, columns to the left, as a file is read."""
    affine = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1.0]])
    affine[:3, :3] *= SPACING
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return affine
