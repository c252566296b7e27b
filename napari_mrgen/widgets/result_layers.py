"""Result layers: shows volumes in the viewer, with the geometry of their source."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Layer

from napari_mrgen.io.layers import to_layer
from napari_mrgen.volume import Volume
from napari_mrgen.widgets.layer_inputs import TRANSIENT


def add_volume(
    viewer: ViewerModel, volume: Volume, *, name: str = "", is_transient: bool = False
) -> Layer:
    """Add a volume as a layer of its own; a transient one is never offered as an input."""
    data, properties, kind = to_layer(volume)
    layer = Layer.create(data, properties, kind)
    layer.name = name or layer.name
    if is_transient:
        layer.metadata[TRANSIENT] = True
    return viewer.add_layer(layer)


class PreviewLayers:
    """Layers that a run updates in place; one that the user removed does not come back."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layers: dict[str, Layer] = {}

    def show(self, volumes: tuple[Volume, ...]) -> None:
        for volume in volumes:
            name = f"Preview: {volume.name}"
            layer = self._layers.get(name)
            if layer is None:
                self._layers[name] = self._add(volume, name)
            elif layer in self._viewer.layers:
                self._update(layer, volume)

    def forget(self) -> None:
        """Let the next run make layers of its own; take this run's away."""
        for layer in self._layers.values():
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._layers = {}

    def _add(self, volume: Volume, name: str) -> Layer:
        return add_volume(self._viewer, volume, name=name, is_transient=True)

    def _update(self, layer: Layer, volume: Volume) -> None:
        """Exchange the data; another shape, such as a later stage's, is placed anew as well."""
        data, properties, _ = to_layer(volume)
        if data.ndim != layer.ndim:
            name = layer.name
            self._viewer.layers.remove(layer)
            self._layers[name] = self._add(volume, name)
            return
        layer.data = data
        for place in ("scale", "translate"):
            if place in properties:
                setattr(layer, place, properties[place])
