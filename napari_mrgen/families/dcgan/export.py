"""ONNX export of the generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from napari_mrgen.data.slices import CONDITIONS
from napari_mrgen.engine.exportable import Exportable, Port
from napari_mrgen.families.dcgan.config import DcganConfig


def exports(networks: Mapping[str, nn.Module], trained: DcganConfig) -> Iterator[Exportable]:
    """Yield the generator, for any number of slices."""
    yield Exportable(
        name="generator",
        module=_AtFullSize(networks["generator"], trained.size),
        inputs=(
            Port("noise", ("n", trained.latent), low=-2.0, high=2.0),
            Port("conditions", ("n", CONDITIONS)),
        ),
        output="slices",
        sizes=({"n": 2}, {"n": 1}, {"n": 5}),
        help="Slices from normal noise and conditions: level, age in centuries, sex, whether the "
        "age is known.",
    )


class _AtFullSize(nn.Module):
    """The generator at the full resolution."""

    def __init__(self, generator: nn.Module, size: int) -> None:
        super().__init__()
        self.generator, self.size = generator, size

    def forward(self, noise: Tensor, conditions: Tensor) -> Tensor:
        return self.generator(noise, conditions, self.size)  # type: ignore[no-any-return]
