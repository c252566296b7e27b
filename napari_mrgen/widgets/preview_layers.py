"""Layers of results and of previews, with the geometry of their source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.utils import Colormap

from napari_mrgen.io.layers import to_layer
from napari_mrgen.volume import Volume
from napari_mrgen.widgets.layer_inputs import TRANSIENT

FROM_THE_FRONT, HEAD_UP = (0.3, 1.0, 0.5), (-1.0, 0.0, 0.0)
"""Where a camera looks and which way is up, along ``z y x`` of the window: down, back, left."""
DEPTHS = ("attenuated_mip", "mip")
"""How a volume is drawn in 3-D: nearer voxels before farther ones; differences without that."""
DIFFERENCE = Colormap(
    [(0.3, 0.65, 1.0, 1.0), (0.0, 0.0, 0.0, 1.0), (1.0, 0.6, 0.2, 1.0)], name="difference"
)
"""Too dark is blue, too bright is orange, and nothing is black."""


class PreviewLayers:
    """Layers that a run updates in place; one that the user removed does not come back.

    Of several only the first is visible, until they are asked for side by side. They keep the
    intensity window that the family asks for, so that they compare; differences have colours.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layers: dict[str, Layer] = {}
        self._seen: list[Layer] | None = None
        """What was visible before the previews stood side by side."""

    @property
    def is_in_3d(self) -> bool:
        return bool(self._viewer.dims.ndisplay == 3)

    @property
    def is_side_by_side(self) -> bool:
        return self._seen is not None

    def show(self, volumes: tuple[Volume, ...]) -> None:
        named = dict(zip(_names(volumes), volumes, strict=True))
        for number, (name, volume) in enumerate(named.items()):
            layer = self._layers.get(name)
            if layer is None:
                added = self._layers[name] = self._add(volume, name)
                added.visible = number == 0 or self.is_side_by_side
            elif layer in self._viewer.layers:
                self._update(layer, volume)

    def forget(self) -> None:
        """Let the next run make layers of its own; take this run's away."""
        self.show_side_by_side(on=False)
        for layer in self._here():
            self._viewer.layers.remove(layer)
        self._layers = {}

    def show_in_3d(self, *, on: bool) -> None:
        """Draw volumes in depth, upright and from the front; or go back to slices."""
        for layer in self._here():
            if isinstance(layer, Image):
                layer.rendering = DEPTHS[layer.colormap.name == DIFFERENCE.name]
        self._viewer.dims.ndisplay = 3 if on else 2
        self._viewer.reset_view()
        if on:
            self._viewer.scene.camera.set_view_direction(FROM_THE_FRONT, HEAD_UP)

    def show_side_by_side(self, *, on: bool) -> None:
        """Show all previews and nothing else, each in a field of its own; or as it was before.

        Before the first preview there is nothing to show so.
        """
        previews = self._here()
        if on is self.is_side_by_side or (on and not previews):
            return
        before, self._seen = self._seen or [], None
        if on:
            self._seen = [layer for layer in self._viewer.layers if layer.visible]
        for layer in self._viewer.layers:
            if on or layer in before or layer in previews:
                layer.visible = layer in (previews if on else before)
        self._viewer.canvas.grid.enabled = on
        self._viewer.reset_view(reset_camera_angle=False)

    def _here(self) -> list[Layer]:
        return [layer for layer in self._layers.values() if layer in self._viewer.layers]

    def _add(self, volume: Volume, name: str) -> Layer:
        layer = add_volume(self._viewer, volume, name=name, is_transient=True)
        _look(layer, volume)
        go_to(self._viewer, layer)
        return layer

    def _update(self, layer: Layer, volume: Volume) -> None:
        """Exchange the data; another shape, such as a later stage's, is placed anew as well."""
        data, properties, _ = to_layer(_in_pace(self._viewer, volume))
        if data.ndim != layer.ndim:
            name = layer.name
            self._viewer.layers.remove(layer)
            self._layers[name] = self._add(volume, name)
            return
        layer.data = data
        for place in ("scale", "translate"):
            # Setting what is set already would still make napari slice and draw it again.
            if not np.array_equal(getattr(layer, place), properties[place]):
                setattr(layer, place, properties[place])


def _names(volumes: Sequence[Volume]) -> list[str]:
    """Name one layer each: the only one "Preview", of several each by what it shows."""
    if len(volumes) == 1:
        return ["Preview"]
    names: list[str] = []
    for number, volume in enumerate(volumes, start=1):
        name = f"Preview: {volume.name}" if volume.name else f"Preview {number}"
        names.append(f"{name} {number}" if name in names else name)
    return names


def _look(layer: Layer, volume: Volume) -> None:
    """Give a preview the window of intensities that it asks for; one around 0 is a difference's."""
    window = volume.window
    if window is None or not isinstance(layer, Image):
        return
    layer.contrast_limits = window
    if window[0] < 0 < window[1]:
        layer.colormap = DIFFERENCE


def add_volume(
    viewer: ViewerModel, volume: Volume, *, name: str = "", is_transient: bool = False
) -> Layer:
    """Add a volume as a layer of its own; a transient one is never offered as an input."""
    data, properties, kind = to_layer(_in_pace(viewer, volume) if is_transient else volume)
    layer = Layer.create(data, properties, kind)
    layer.name = name or layer.name
    if is_transient:
        layer.metadata[TRANSIENT] = True
    return viewer.add_layer(layer)


def _in_pace(viewer: ViewerModel, volume: Volume) -> Volume:
    """Give frames of unknown time those of the cine in the viewer, or the slider skips some."""
    if volume.times is not None or "t" not in volume.axes:
        return volume
    for layer in viewer.layers:
        axis = layer.axis_labels.index("t") if "t" in layer.axis_labels else None
        if (
            axis is not None
            and str(layer.units[axis]) == "second"
            and TRANSIENT not in layer.metadata
        ):
            start, pace = float(layer.translate[axis]), float(layer.scale[axis])
            times = tuple(start + pace * frame for frame in range(volume.size("t")))
            return replace(volume, times=times)
    return volume


def go_to(viewer: ViewerModel, layer: Layer) -> None:
    """Move the sliders to a layer where it could not be seen."""
    first = viewer.dims.ndim - layer.ndim
    for axis, (low, high) in enumerate(layer.extent.world.T[:-2], start=first):
        if not low <= viewer.dims.point[axis] <= high:
            viewer.dims.set_point(axis, low)


class Montage:
    """A layer that is shown alone; the others are hidden for as long as it is there."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Layer | None = None
        self._hidden: list[Layer] = []

    def show(self, volume: Volume) -> None:
        self.remove()
        self._hidden = [layer for layer in self._viewer.layers if layer.visible]
        for layer in self._hidden:
            layer.visible = False
        self._layer = add_volume(self._viewer, volume, is_transient=True)
        go_to(self._viewer, self._layer)
        self._viewer.reset_view()

    def remove(self) -> None:
        """Take the layer away and show again what it hid."""
        if self._layer is None:
            return
        if self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        for layer in self._hidden:
            layer.visible = True
        self._layer = None
        self._viewer.reset_view()
