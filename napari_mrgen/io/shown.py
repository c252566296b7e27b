"""The scans that this process turned into layers, so that what is drawn over one is saved on it.

napari gives a layer that it makes over another, such as its New labels, the transform of that layer
and none of its metadata. A writer gets that transform alone: it is looked up here.
"""

from __future__ import annotations

import warnings
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product

import numpy as np

from napari_mrgen.io.geometry import Affine
from napari_mrgen.volume import Array, Source, Volume, upright_affine

Shape = tuple[int, int, int]

_MOST = 256
_SCANS: deque[ShownScan] = deque(maxlen=_MOST)
"""The last one shown is the last."""
_ON_GRID = 1e-2
"""Largest distance from a whole number, in voxels."""
_ELSEWHERE, _OVER, _PART, _GRID = range(4)
"""How a layer lies on a scan; the highest counts."""


@dataclass(frozen=True, eq=False)
class ShownScan:
    """Where a scan is, and where its layer was put.

    Attributes
    ----------
    affine, shown
        (4, 4) from ``(z, y, x)`` to the scanner, and to the viewer's world; mm.
    shape
        Along ``z, y, x``; None in metadata of earlier versions.
    source
        The file that it was read from.
    owner
        The array that holds its values, for as long as somebody uses it.
    """

    name: str
    affine: Affine
    shown: Affine
    shape: Shape | None
    times: tuple[float, ...] | None = None
    source: Source | None = None
    owner: Callable[[], Array | None] = lambda: None

    @property
    def is_alive(self) -> bool:
        return self.owner() is not None

    @property
    def to_scanner(self) -> Affine:
        """(4, 4) from the viewer's world to the scanner, mm."""
        return np.asarray(self.affine @ np.linalg.inv(self.shown))

    @property
    def is_upright(self) -> bool:
        """Whether the viewer's world is the ordinary one, so that the layer needs no scan."""
        return _is_close(self.to_scanner, upright_affine())

    def affine_of(self, space: Affine, missing: Sequence[int] = ()) -> Affine:
        """Return the affine to the scanner of a layer that lies at ``space`` in the viewer.

        Along axes that it has not (``missing``), such as that of a projection, it gets one voxel
        that is as long as the scan.
        """
        if not missing and np.allclose(space, self.shown, rtol=1e-6, atol=1e-6):
            return self.affine
        return np.asarray(self.affine @ self._voxels_of(space, missing))

    def relation(self, space: Affine, shape: Shape, missing: Sequence[int]) -> int:
        """Say how a layer lies on the scan: on its grid, on a part of it, over it, or elsewhere."""
        if self.shape is None:
            return _ELSEWHERE
        kept = [axis for axis in range(3) if axis not in missing]
        to_voxels = self._voxels_of(space, missing)
        ends = np.array([*product(*((0, n - 1) for n in shape))])
        corners = (ends @ to_voxels[:3, :3].T + to_voxels[:3, 3])[:, kept]
        low, high = corners.min(0), corners.max(0)
        sizes = np.array(self.shape)[kept]
        if (high < -0.5).any() or (low > sizes - 0.5).any():
            return _ELSEWHERE
        if (low < -_ON_GRID).any() or (high > sizes - 1 + _ON_GRID).any():
            return _OVER
        steps, offset = to_voxels[np.ix_(kept, kept)], to_voxels[kept, 3]
        whole = np.diag(np.rint(np.diag(steps)))
        drift = np.abs(steps - whole).max(0) * np.array(shape)[kept]
        if (drift > _ON_GRID).any() or (np.abs(offset - np.rint(offset)) > _ON_GRID).any():
            return _OVER
        is_equal = (np.diag(whole) == 1).all() and not np.rint(offset).any()
        return _GRID if is_equal and np.array_equal(np.array(shape)[kept], sizes) else _PART

    def _voxels_of(self, space: Affine, missing: Sequence[int]) -> Affine:
        """Return the (4, 4) matrix from a layer's indices to those of the scan."""
        matrix = np.linalg.inv(self.shown) @ space
        for axis in missing:
            length = 1 if self.shape is None else self.shape[axis]
            matrix[axis], matrix[:3, axis] = 0, 0
            matrix[axis, axis], matrix[axis, 3] = length, (length - 1) / 2
        return np.asarray(matrix)


def remember(volume: Volume, array: Array, shown: Affine) -> None:
    """Note that a volume became a layer of this array, at ``shown`` in the viewer."""
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base  # A crop is a view of that.
    z, y, x = volume.array.shape[-3:]
    scan = ShownScan(
        volume.name, volume.affine, shown, (z, y, x), volume.times, volume.source,
        weakref.ref(owner),
    )  # fmt: skip
    for other in list(_SCANS):
        is_other = other.is_alive and other.owner() is not owner
        if _is_same(other, scan) and not is_other:
            with suppress(ValueError):  # Layers are made and saved in several threads.
                _SCANS.remove(other)
    _SCANS.append(scan)


def forget_shown() -> None:
    """Forget which scans became layers, as in a new session."""
    _SCANS.clear()


def scan_of(
    name: str, space: Affine, shape: Shape, missing: Sequence[int], *, has_units: bool
) -> ShownScan | None:
    """Return the scan that a layer without metadata of ours was made over; None where none is.

    That is one on whose grid of voxels it lies; of the scans that are still in use also one of
    which it is a part or, where its lengths have a unit, which it overlaps. Of several it is the
    last one. A warning says what was assumed.

    Parameters
    ----------
    space
        (4, 4) from the layer's ``(z, y, x)`` indices to the viewer's world, mm.
    missing
        Which of ``z, y, x`` the layer has not.
    """
    scans = list(_SCANS)
    relations = [(scan, scan.relation(space, shape, missing)) for scan in scans]
    for kind in (_GRID, _PART, _OVER) if has_units else (_GRID, _PART):
        found = [scan for scan, one in relations if one >= kind]
        if kind != _GRID or any(scan.is_alive for scan in found):
            found = [scan for scan in found if scan.is_alive]
        if found:
            _warn_of_choice(name, found, is_exact=kind != _OVER)
            alike = [scan for scan in found if scan.source and _is_same_frame(scan, found[-1])]
            return (alike or found)[-1]  # That of a file has the order of its axes, too.
    if not all(scan.is_upright for scan in scans):
        _warn(
            f"The layer {name!r} lies over no scan that was opened here: it is saved as it stands "
            "in the viewer, which may show scans turned."
        )
    return None


def _warn_of_choice(name: str, found: Sequence[ShownScan], *, is_exact: bool) -> None:
    last = found[-1]
    others = [scan for scan in found if not _is_same_frame(scan, last)]
    if others:
        names = ", ".join(dict.fromkeys(scan.name for scan in others))
        _warn(
            f"The layer {name!r} lies over several scans of different orientation: it is saved as "
            f"drawn over {last.name!r}, the last one opened, not {names}."
        )
    elif not is_exact and not last.is_upright:
        _warn(f"The layer {name!r} is saved as drawn over the scan {last.name!r}.")


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=4)


def _is_same_frame(one: ShownScan, other: ShownScan) -> bool:
    return _is_close(one.to_scanner, other.to_scanner)


def _is_close(one: Affine, other: Affine) -> bool:
    return np.allclose(one, other, rtol=1e-4, atol=1e-4)


def _is_same(one: ShownScan, other: ShownScan) -> bool:
    return (one.name, one.shape) == (other.name, other.shape) and (
        np.array_equal(one.affine, other.affine) and np.array_equal(one.shown, other.shown)
    )
