"""Where voxels lie: the order in which axes are read, and how a volume stands in the viewer.

Three frames. *Stored*: the axes ``i j k`` of the file. *Volume*: ``z y x``, which is the stored
array with its axes permuted and flipped, nothing else. *Scanner*: RAS+ millimetres.
Affines go from indices to scanner. The display frame is a permutation of the scanner's with signs,
so that every volume of one study falls into one space; ordinarily it is ``-(S, A, R)``: slices
downwards, rows to the back, columns to the patient's left, which is upright and radiological in 2-D
and not mirrored in 3-D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from nibabel.orientations import io_orientation

Affine = npt.NDArray[np.float64]

DISPLAY: Affine = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]], np.float64)
"""From scanner RAS to the ordinary display frame."""

THICK = 2.5
"""Slices that are thicker than their pixels by this factor are never cut across."""


@dataclass(frozen=True)
class Order:
    """How stored axes become ``z y x``: which one each is, and whether it is turned round."""

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def affine(self, stored: Affine, shape: tuple[int, ...]) -> Affine:
        """Return the affine from ``(z, y, x)``, given the one from the stored ``(i, j, k)``."""
        return np.asarray(stored @ self._matrix(shape))

    def stored_affine(self, volume: Affine, shape: tuple[int, ...]) -> Affine:
        """Undo `affine`; ``shape`` is the stored one."""
        return np.asarray(volume @ np.linalg.inv(self._matrix(shape)))

    def apply(self, stored: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return the stored ``(i, j, k, ...)`` array as a view with axes ``(..., z, y, x)``."""
        rest = range(stored.ndim - 1, 2, -1)
        view = stored.transpose(*rest, *self.axes)
        return view[(..., *(slice(None, None, -1 if flip else None) for flip in self.flips))]

    def undo(self, volume: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return the ``(..., z, y, x)`` array as a view with axes ``(i, j, k, ...)``."""
        view = volume[(..., *(slice(None, None, -1 if flip else None) for flip in self.flips))]
        first = volume.ndim - 3
        inverse = [first + self.axes.index(axis) for axis in range(3)]
        return view.transpose(*inverse, *range(first - 1, -1, -1))

    def stored_shape(self, volume: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape ``(i, j, k, ...)`` of the stored array of a volume."""
        spatial = [volume[-3:][self.axes.index(axis)] for axis in range(3)]
        return (*spatial, *reversed(volume[:-3]))

    def _matrix(self, shape: tuple[int, ...]) -> Affine:
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for axis, (stored, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            matrix[stored, axis] = -1 if flip else 1
            matrix[stored, 3] = shape[stored] - 1 if flip else 0
        return matrix


def choose_order(stored: Affine, shape: tuple[int, ...]) -> Order:
    """Choose the axes of a stored array that are shown as ``z y x``, and their directions.

    The aim is (Inferior, Posterior, Left). A stack of thick slices, or of a single one, keeps its
    slices: their axis is z whatever way it points, turned so that the frame stays right-handed.
    """
    scanner_axis = [int(axis) for axis in io_orientation(stored)[:, 0]]
    slices = _slice_axis(np.linalg.norm(stored[:3, :3], axis=0), shape)
    rank = [3 if axis == slices else scanner_axis[axis] for axis in range(3)]
    z, y, x = sorted(range(3), key=lambda axis: -rank[axis])
    positive = [bool(stored[scanner_axis[axis], axis] > 0) for axis in range(3)]
    order = Order((z, y, x), (positive[z], positive[y], positive[x]))
    if slices is not None and np.linalg.det(order.affine(stored, shape)[:3, :3]) < 0:
        order = Order(order.axes, (not positive[z], positive[y], positive[x]))
    return order


def _slice_axis(spacing: npt.NDArray[np.float64], shape: tuple[int, ...]) -> int | None:
    single = [axis for axis in range(3) if shape[axis] == 1]
    if len(single) == 1:
        return single[0]
    thickest = max(range(3), key=lambda axis: (spacing[axis], axis))
    return thickest if spacing[thickest] > THICK * spacing.min() else None


def display_axes(affine: Affine) -> npt.NDArray[np.float64]:
    """Return the (3, 3) signed permutation from scanner to display that suits a volume's affine."""
    axes = np.zeros((3, 3))
    for index, (scanner, sign) in enumerate(io_orientation(affine)):
        axes[index, int(scanner)] = sign
    return axes


def display_origin(affine: Affine, shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """Return where voxel (0, 0, 0) of a ``z y x`` volume is shown, in mm of the display frame.

    A volume that lies along the scanner's axes is shown where it is. An oblique one is shown
    upright, its centre where it is: a viewer draws no slices across the voxels.
    """
    centre = (np.array(shape) - 1) / 2
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    shown = display_axes(affine) @ (affine[:3, :3] @ centre + affine[:3, 3])
    return np.asarray(shown - spacing * centre)


def is_oblique(affine: Affine) -> bool:
    """Whether the axes are off the scanner's by more than a ten-thousandth."""
    direction = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(direction).max(axis=0).min() < 1 - 1e-8)
