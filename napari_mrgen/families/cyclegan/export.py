"""The translators by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from napari_mrgen.engine.exportable import Exportable, Port
from napari_mrgen.families.cyclegan.config import CycleGanConfig
from napari_mrgen.families.cyclegan.networks import directions

_SIZES = ((2, 19, 21, 27), (1, 16, 24, 20), (1, 33, 32, 13), (1, 15, 17, 18))


def exports(networks: Mapping[str, nn.Module], trained: CycleGanConfig) -> Iterator[Exportable]:
    """Yield the network of each direction, for volumes of any size."""
    for direction in directions(trained):
        yield Exportable(
            name=direction.network,
            module=networks[direction.network],
            inputs=(Port("volume", ("b", 1, "z", "y", "x")),),
            output="translated",
            sizes=tuple(dict(zip("bzyx", sizes, strict=True)) for sizes in _SIZES),
            help=f"{direction.title}: of both 0 is dark, and 1 the brain's 99.5th percentile.",
        )
