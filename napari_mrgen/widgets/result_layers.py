"""Result layers: shows volumes in the viewer, with the geometry of their source."""

from __future__ import annotations

from dataclasses import replace

from napari.components import ViewerModel
from napari.layers import Layer

from napari_mrgen.io.layers import to_layer
from napari_mrgen.volume import Volume
from napari_mrgen.widgets.layer_inputs import TRANSIENT


def add_volume(
    viewer: ViewerModel, volume: Volume, *, name: str = "", is_transient: bool = False
) -> Layer:
    """Add a volume as a layer of its own; a transient one is never offered as an input."""
    data, properties, kind = to_layer(in_pace(viewer, volume) if is_transient else volume)
    layer = Layer.create(data, properties, kind)
    layer.name = name or layer.name
    if is_transient:
        layer.metadata[TRANSIENT] = True
    return viewer.add_layer(layer)


def in_pace(viewer: ViewerModel, volume: Volume) -> Volume:
    """Show frames of unknown time at the pace of the cine beside them, or the slider skips some."""
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
    """Move those sliders to a layer at whose place it cannot be seen."""
    first = viewer.dims.ndim - layer.ndim
    for axis, (low, high) in enumerate(layer.extent.world.T[:-2], start=first):
        if not low <= viewer.dims.point[axis] <= high:
            viewer.dims.set_point(axis, low)


class Montage:
    """A layer that is looked at alone; the others are hidden for as long as it is there."""

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
