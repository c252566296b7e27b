"""Masks on an image's voxels, from shapes that are drawn over it or labels of another grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import affine_transform

from napari_mrgen.errors import MrgenError
from napari_mrgen.io.geometry import Affine
from napari_mrgen.io.layers import LayerData, data_to_world, to_layer
from napari_mrgen.volume import Array, Volume

Points = npt.NDArray[np.float64]

_CORNERS = 72
"""Corners of the polygon that stands for an ellipse."""
_FLAT = 0.5
"""Largest extent in voxels of a shape across its slice."""


def mask_of_shapes(layer: LayerData, image: Volume) -> Volume:
    """Return 1 in the voxels of ``image`` whose centre is in a shape, 0 elsewhere; axes ``zyx``.

    Parameters
    ----------
    layer
        Tuple of a Shapes layer. Rectangles, ellipses, polygons and closed paths count; lines have
        no inside. A shape marks the slice that it is drawn in, in whichever plane that is; a shape
        of a layer with two axes marks all slices.
    image
        As it stands in the viewer.
    """
    shapes, keywords, _ = layer
    mask = np.zeros(image.array.shape[-3:], np.uint8)
    _, shown, _ = to_layer(image)
    axes = "ntzyx"[-len(keywords["scale"]) :]
    to_voxels = np.linalg.inv(data_to_world(shown, image.axes).space)
    to_voxels = to_voxels @ data_to_world(keywords, axes).space
    for corners in _outlines(shapes, keywords):
        _mark(mask, corners, to_voxels)
    if not mask.any():
        msg = (
            f"The layer {keywords.get('name', '')!r} marks nothing in {image.name!r}; draw a "
            "rectangle, ellipse or polygon on the image."
        )
        raise MrgenError(msg)
    name = keywords.get("name", "")
    return Volume(mask, "zyx", image.affine, "labels", name, subject=image.subject)


def mask_on_grid(labels: Volume, image: Volume) -> Volume:
    """Return labels on the voxels of ``image``, axes ``zyx``: each takes the nearest label.

    Of labels that change along other axes the largest counts: napari gives a new layer all axes
    that the viewer has.
    """
    shape = image.array.shape[-3:]
    if labels.axes != "zyx":
        others = tuple(range(labels.array.ndim - 3))
        labels = labels.with_array(labels.array.max(axis=others), "zyx")
    if labels.array.shape == shape and np.allclose(labels.affine, image.affine, atol=1e-3):
        return labels
    to_labels = np.linalg.inv(labels.affine) @ image.affine
    array = affine_transform(labels.array, to_labels[:3, :3], to_labels[:3, 3], shape, order=0)
    if not array.any():
        msg = f"The labels {labels.name!r} mark nothing in {image.name!r}; they lie elsewhere."
        raise MrgenError(msg)
    return replace(labels, array=array, affine=image.affine, source=None)


def _outlines(shapes: list[Points], keywords: dict[str, Any]) -> Iterator[Points]:
    """Yield the corners of each shape that has an inside, ``(corners, axes)``."""
    kinds = keywords.get("shape_type", "rectangle")
    kinds = [kinds] * len(shapes) if isinstance(kinds, str) else kinds
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)[:, None]
    for shape, kind in zip(shapes, kinds, strict=True):
        corners = np.asarray(shape, np.float64)
        if kind == "ellipse":
            # The corners are those of the (possibly turned) box around it.
            across, down = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
            yield corners.mean(0) + np.cos(angles) * across + np.sin(angles) * down
        elif kind != "line" and len(corners) > 2:
            yield corners


def _mark(mask: Array, corners: Points, to_voxels: Affine) -> None:
    """Mark the voxels inside one outline."""
    is_flat = corners.shape[1] == 2
    places = np.zeros((len(corners), 4))
    places[:, 3] = 1
    places[:, 3 - min(3, corners.shape[1]) : 3] = corners[:, -3:]
    places = (places @ to_voxels.T)[:, :3]
    normal = 0 if is_flat else int(np.ptp(places, axis=0).argmin())
    if not is_flat and np.ptp(places[:, normal]) > _FLAT:
        raise MrgenError("A shape lies across slices; draw it within one slice.")
    plane = [axis for axis in range(3) if axis != normal]
    inside = _inside(places[:, plane], tuple(mask.shape[axis] for axis in plane))
    slices = np.moveaxis(mask, normal, 0)
    index = round(float(places[:, normal].mean()))
    if is_flat:
        slices[:, inside] = 1
    elif 0 <= index < len(slices):
        slices[index][inside] = 1


def _inside(corners: Points, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Whether a ray from each pixel's centre crosses an odd number of a polygon's edges."""
    y, x = np.indices(shape)
    inside = np.zeros(shape, bool)
    for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside
