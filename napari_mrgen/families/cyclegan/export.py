"""The translators by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from napari_mrgen.engine.exportable import Exportable, Port
from napari_mrgen.families.cyclegan.config import CycleGanConfig
from napari_mrgen.families.cyclegan.networks import ways

_SIZES = ((2, 19, 21, 27), (1, 16, 24, 20), (1, 33, 32, 13), (1, 15, 17, 18))


def exports(networks: Mapping[str, nn.Module], trained: CycleGanConfig) -> Iterator[Exportable]:
    """Yield the network of each direction, for volumes of any size."""
    for way in ways(trained):
        yield Exportable(
            name=way.there,
            module=networks[way.there],
            inputs=(Port("volume", ("b", 1, "z", "y", "x")),),
            output="translated",
            sizes=tuple(dict(zip("bzyx", sizes, strict=True)) for sizes in _SIZES),
            help=f"{way.title}: both scaled so that 0 is dark and 1 the brain's 99.5th percentile.",
        )
