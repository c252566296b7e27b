"""Scans of a head are resampled on the voxels of another, and registered to it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_mrgen.data.heads.brain import Mask, finite
from napari_mrgen.volume import Volume

Affine = npt.NDArray[np.float64]

_NEAR_MM = 1e-2
_LEVELS_MM = (6.0, 3.0, 2.0)
_SHARES = (1.0, 0.2, 0.1)
"""Voxel size of each resolution of a registration, and the share of voxels that are sampled."""


def is_same_grid(one: Volume, other: Volume) -> bool:
    """Whether two volumes have the same voxels, to a hundredth of a millimetre."""
    shape = one.array.shape[-3:]
    if shape != other.array.shape[-3:]:
        return False
    corners = np.array([[*np.array(shape) * side, 1] for side in np.ndindex(2, 2, 2)])
    apart = corners @ (one.affine - other.affine).T
    return bool(np.abs(apart).max() < _NEAR_MM)


def onto_grid(moving: Volume, like: Volume) -> Volume:
    """Resample a ``zyx`` volume on the voxels of another, each where it is in the scanner.

    Linear, smoothed first where voxels get larger; labels take the nearest. Outside of ``moving``
    it is 0. On the grid that it has already a volume is returned as it is.
    """
    if is_same_grid(moving, like):
        return moving
    array = moving.array if moving.kind == "labels" else _smoothed(moving, like)
    to_moving = np.linalg.inv(moving.affine) @ like.affine
    resampled = ndimage.affine_transform(
        array, to_moving[:3, :3], to_moving[:3, 3], like.array.shape[-3:],
        order=0 if moving.kind == "labels" else 1,
    )  # fmt: skip
    return replace(moving, array=resampled, affine=like.affine, source=None)


def field_of_view(moving: Volume, like: Volume) -> Mask:
    """Mark the voxels of ``like`` that lie within the field of view of ``moving``."""
    axes = np.meshgrid(*(np.arange(n) for n in like.array.shape[-3:]), indexing="ij", sparse=True)
    matrix = np.linalg.inv(moving.affine) @ like.affine
    inside = np.ones(like.array.shape[-3:], bool)
    for row, size in zip(matrix, moving.array.shape[-3:], strict=False):
        place = sum((row[i] * axes[i] for i in range(3)), row[3])
        inside &= (place > -0.5) & (place < size - 0.5)
    return inside


def moved(volume: Volume, rigid: Affine) -> Volume:
    """Move a volume by a rigid (4, 4) matrix of millimetres; only its affine changes.

    Examples
    --------
    >>> shift = np.eye(4)
    >>> shift[:3, 3] = 5, 0, 0
    >>> scan = Volume(np.zeros((2, 3, 4)), "zyx", np.eye(4))
    >>> moved(scan, shift).affine[:3, 3]
    array([5., 0., 0.])
    """
    return replace(volume, affine=rigid @ volume.affine, source=None)


def register_rigid(fixed: Volume, moving: Volume) -> Generator[float, None, Affine]:
    """Find the rigid (4, 4) matrix that brings ``moving`` onto ``fixed``, in scanner millimetres.

    Mutual information (Mattes 2003, 10.1109/TMI.2003.809072) is maximised by gradient steps, on
    voxels of 6, 3 and 2 mm. It starts from the scanner's coordinates, or from the centres of both
    heads where that is better. Yields the share that is done after each resolution.
    """
    transform: Any = None
    finest = [_cubic(volume, _LEVELS_MM[-1]) for volume in (fixed, moving)]
    for number, (length, share) in enumerate(zip(_LEVELS_MM, _SHARES, strict=True), 1):
        images = [_itk_image(_cubic(volume, length)) for volume in finest]
        method = _method(length, share)
        if transform is None:
            transform = _start(method, *images)
        method.SetInitialTransform(transform, inPlace=True)
        method.Execute(*images)
        yield number / len(_LEVELS_MM)
    return np.asarray(np.linalg.inv(_matrix(transform)), np.float64)


def _method(length: float, share: float) -> Any:
    import SimpleITK

    method = SimpleITK.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM if share < 1 else method.NONE)
    method.SetMetricSamplingPercentage(share, 1)
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=length / 2, minStep=0.02, numberOfIterations=100, relaxationFactor=0.5
    )
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _start(method: Any, fixed: Any, moving: Any) -> Any:
    """Return the better of two starts: as the scanner has it, and centre on centre."""
    import SimpleITK

    centred = SimpleITK.CenteredTransformInitializer(
        fixed,
        moving,
        SimpleITK.Euler3DTransform(),
        SimpleITK.CenteredTransformInitializerFilter.MOMENTS,
    )
    as_scanned = SimpleITK.Euler3DTransform()
    as_scanned.SetCenter(centred.GetFixedParameters()[:3])
    values = []
    starts = as_scanned, SimpleITK.Euler3DTransform(centred)
    for start in starts:
        method.SetInitialTransform(start, inPlace=False)
        try:
            values.append(method.MetricEvaluate(fixed, moving))
        except RuntimeError:  # no voxel of one lies in the other
            values.append(np.inf)
    return starts[int(np.argmin(values))]


def _cubic(volume: Volume, length: float) -> Volume:
    """Return a volume on cubic voxels along the scanner's axes, also of a sheared one."""
    size = np.array(volume.array.shape)
    corners = np.array([[*(size * side - 0.5), 1] for side in np.ndindex(2, 2, 2)])
    places = (corners @ volume.affine.T)[:, :3]
    shape = np.ceil(np.ptp(places, axis=0) / length - 1e-3).astype(int).clip(1)
    affine = np.array([[0, 0, length, 0], [0, length, 0, 0], [length, 0, 0, 0], [0, 0, 0, 1.0]])
    affine[:3, 3] = places.min(0) + length / 2
    like = Volume(np.broadcast_to(np.float32(0), tuple(shape[::-1])), "zyx", affine)
    return onto_grid(volume.with_array(finite(volume).astype(np.float32)), like)


def _itk_image(cubic: Volume) -> Any:
    import SimpleITK

    image = SimpleITK.GetImageFromArray(cubic.array)
    image.SetOrigin(cubic.affine[:3, 3].tolist())
    image.SetSpacing(cubic.spacing[::-1])
    return image


def _matrix(transform: Any) -> Affine:
    """Return a SimpleITK rigid transform as a (4, 4) matrix."""
    turn = np.array(transform.GetMatrix()).reshape(3, 3)
    centre = np.array(transform.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre + np.array(transform.GetTranslation()) - turn @ centre
    return matrix


def _smoothed(moving: Volume, like: Volume) -> npt.NDArray[np.float32]:
    """Smooth along the axes on which the new voxels are larger, so that no detail aliases."""
    direction = np.linalg.inv(moving.affine[:3, :3]) @ like.affine[:3, :3]
    steps = np.abs(direction).max(axis=1)
    sigma = np.clip((steps - 1) / 2, 0, None)
    array = np.asarray(moving.array, np.float32)
    return np.asarray(ndimage.gaussian_filter(array, sigma) if sigma.any() else array)
