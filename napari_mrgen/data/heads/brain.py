"""Where the brain is in a head: a mask, a box around it, and the volume cut to that box.

The mask is a simple one. It is good enough to crop by, to place patches and to leave the air out of
a metric; it is not a segmentation, and a carefully made mask is better.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_mrgen.data.scaling import without_fill
from napari_mrgen.errors import MrgenError
from napari_mrgen.volume import Volume

Mask = npt.NDArray[np.bool_]

_BRAIN_L = 2.0
"""Volume in litres that no brain with the fluid around it exceeds."""
_STRIPPED_L, _ZERO_SHARE, _BORDER_SHARE, _CONNECTED_SHARE = 2.3, 0.25, 0.05, 0.8
"""Largest volume of a brain without its skull; least share of zeros; largest share of the border
that is not zero; least share in one connected part: where only air and bone are zero, the skin is
not connected to the brain."""
_GRID_MM = 2.0
_RADII_MM = (2, 3, 4, 5, 6, 8, 10)
_CLOSING_MM = 6.0


def finite(volume: Volume) -> npt.NDArray[Any]:
    """Return the values of one ``zyx`` image, with 0 for what is not finite or a fill value.

    Several frames, and an image that is the same everywhere, are refused.
    """
    if volume.axes != "zyx":
        msg = f"{volume.name} has axes {volume.axes}; expected one volume (zyx)."
        raise MrgenError(msg)
    array = without_fill(volume.array)
    if array.size == 0 or array.max() == array.min():
        raise MrgenError(f"{volume.name} has the same value everywhere; there is no brain in it.")
    return array


# ---- masks --------------------------------------------------------------------------------------


def is_stripped(volume: Volume) -> bool:
    """Whether the skull was removed: the rest is zero, is not cut off, and has a brain's size."""
    filled = finite(volume) != 0
    if filled.mean() > 1 - _ZERO_SHARE:
        return False
    faces = [np.take(filled, side, axis) for axis in range(3) for side in (0, -1)]
    border = np.concatenate([face.ravel() for face in faces]).mean()
    if border > _BORDER_SHARE:
        return False
    connected = int(_largest(filled).sum())
    litres = connected * float(np.prod(volume.spacing)) / 1e6
    return bool(connected > _CONNECTED_SHARE * filled.sum() and litres < _STRIPPED_L)


def brain_mask(volume: Volume) -> Mask:
    """Mark the brain in a T1w or T2w volume ``zyx``.

    In a skull-stripped volume these are the voxels that are not zero, with holes filled. In a head
    it is what is brighter than Otsu's threshold, eroded until the largest connected part has the
    size of a brain, and dilated again, on 2 mm voxels. On the MNI152 averages its Dice overlap with
    their own brain mask is 0.93 (T1w) and 0.94 (T2w); some skin may be left, some cortex missing.

    Examples
    --------
    >>> ball = np.linalg.norm(np.mgrid[-20:21, -20:21, -20:21], axis=0) < 15
    >>> stripped = Volume(300 * ball, "zyx", np.eye(4))
    >>> np.array_equal(brain_mask(stripped), ball)
    True
    """
    array = finite(volume)
    if is_stripped(volume):
        return np.asarray(ndimage.binary_fill_holes(_largest(array != 0)))
    steps = np.array(volume.spacing) / _GRID_MM
    coarse = _brain_of_head(_zoom(array.astype(np.float32), steps))
    factors = np.array(array.shape) / coarse.shape
    # The centre of the first voxel moves when voxels change their size.
    grown = ndimage.affine_transform(
        coarse.astype(np.float32), 1 / factors, (1 / factors - 1) / 2, array.shape, order=1,
        mode="nearest",
    )  # fmt: skip
    return np.asarray(grown > 0.5)


def _brain_of_head(head: npt.NDArray[np.float32]) -> Mask:
    """Mark the brain in a head of 2 mm voxels."""
    head = np.clip(head, 0, np.percentile(head, 99.5))
    threshold = otsu(head)
    bright = ndimage.distance_transform_edt(head > threshold) * _GRID_MM
    tissue = head > threshold / 2
    brain = tissue
    for radius in _RADII_MM:
        core = _largest(bright > radius)
        if not core.any():
            break
        brain = (ndimage.distance_transform_edt(~core) * _GRID_MM <= radius) & tissue
        if brain.sum() * _GRID_MM**3 / 1e6 < _BRAIN_L:
            break
    return _closed(brain)


def _closed(mask: Mask) -> Mask:
    """Fill the sulci and the ventricles by a morphological closing."""
    padded = np.pad(mask, steps := int(_CLOSING_MM / _GRID_MM) + 1)
    dilated = ndimage.distance_transform_edt(~padded) * _GRID_MM <= _CLOSING_MM
    closed = ndimage.distance_transform_edt(dilated) * _GRID_MM > _CLOSING_MM
    inner = (slice(steps, -steps),) * 3
    return np.asarray(ndimage.binary_fill_holes((closed | padded)[inner]))


def otsu(values: npt.NDArray[Any]) -> float:
    """Return the threshold that best separates the values ``zyx`` into two classes (Otsu 1979)."""
    import SimpleITK

    method = SimpleITK.OtsuThresholdImageFilter()
    method.SetNumberOfHistogramBins(256)
    method.Execute(SimpleITK.GetImageFromArray(np.asarray(values, np.float32)))
    return float(method.GetThreshold())


def _largest(mask: Mask) -> Mask:
    """Keep the largest connected part."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(labels == 1 + np.bincount(labels.ravel())[1:].argmax())


def _zoom(array: npt.NDArray[np.float32], factors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Resample by linear interpolation, smoothed first along axes that shrink."""
    smooth = ndimage.gaussian_filter(array, np.clip((1 / factors - 1) / 2, 0, None))
    zoomed = ndimage.zoom(smooth, factors, order=1, mode="nearest", grid_mode=True)
    return np.asarray(zoomed, np.float32)


# ---- boxes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Box:
    """A part of a ``zyx`` grid, from ``start`` up to but without ``stop``."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def shape(self) -> tuple[int, int, int]:
        z, y, x = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x


def union_box(masks: Iterable[Mask], margin: tuple[int, int, int] = (0, 0, 0)) -> Box:
    """Return the box around all of some masks of one grid, ``margin`` voxels wider on each side."""
    marked = np.any(np.stack([np.asarray(mask, bool) for mask in masks]), axis=0)
    if not marked.any():
        raise MrgenError("The brain mask marks nothing; give another one, or none.")
    start, stop = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        filled = np.nonzero(marked.any(axis=others))[0]
        start.append(max(0, int(filled[0]) - margin[axis]))
        stop.append(min(marked.shape[axis], int(filled[-1]) + 1 + margin[axis]))
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def crop(volume: Volume, box: Box) -> Volume:
    """Cut a volume to a box; the affine follows, so that every voxel stays where it is.

    Examples
    --------
    >>> volume = Volume(np.zeros((9, 9, 9)), "zyx", np.diag([2.0, 1, 1, 1]))
    >>> part = crop(volume, Box((3, 0, 0), (8, 9, 9)))
    >>> part.array.shape, part.affine[:3, 3].tolist()
    ((5, 9, 9), [6.0, 0.0, 0.0])
    """
    affine = volume.affine.copy()
    affine[:3, 3] += volume.affine[:3, :3] @ np.array(box.start)
    return replace(volume, array=volume.array[(..., *box.slices)], affine=affine, source=None)


# ---- shading ------------------------------------------------------------------------------------


def n4(volume: Volume, mask: Mask, shrink_mm: float = 4.0) -> Volume:
    """Correct the shading by the coils (N4; Tustison 2010, 10.1109/TMI.2010.2046908).

    The bias field is fitted inside ``mask`` on voxels of about ``shrink_mm``; all values are
    divided by it.
    """
    import SimpleITK

    array = finite(volume).astype(np.float32)
    image = SimpleITK.GetImageFromArray(array - min(0.0, float(array.min())))
    image.SetSpacing(volume.spacing[::-1])
    factors = [
        max(1, min(int(shrink_mm / length), size // 4))
        for length, size in zip(volume.spacing[::-1], array.shape[::-1], strict=True)
    ]
    marked = SimpleITK.GetImageFromArray(np.asarray(mask, np.uint8))
    marked.CopyInformation(image)
    correction = SimpleITK.N4BiasFieldCorrectionImageFilter()
    correction.SetMaximumNumberOfIterations([30, 30, 30])
    correction.Execute(SimpleITK.Shrink(image, factors), SimpleITK.Shrink(marked, factors))
    field = SimpleITK.GetArrayFromImage(correction.GetLogBiasFieldAsImage(image))
    return volume.with_array((array / np.exp(field)).astype(np.float32))
