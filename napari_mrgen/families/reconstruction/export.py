"""The U-Nets by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from napari_mrgen.engine.exportable import Exportable, Port
from napari_mrgen.errors import MrgenError
from napari_mrgen.families.reconstruction.config import ReconstructionConfig
from napari_mrgen.families.reconstruction.networks import input_channels

_SIZES = ((2, 5, 37, 27), (1, 3, 32, 48), (1, 8, 50, 19))


def why_not(trained: ReconstructionConfig) -> str:
    """Say why the network of such a training cannot be exported; nothing where it can."""
    if trained.network != "unrolled":
        return ""
    return (
        "The network 'unrolled' computes with complex numbers, which ONNX does not: serve the "
        "model instead, or train one of the U-Nets."
    )


def exports(
    networks: Mapping[str, nn.Module], trained: ReconstructionConfig
) -> Iterator[Exportable]:
    """Yield the network, for series of any size.

    Raises
    ------
    MrgenError
        Of the unrolled network, which looks at complex samples.
    """
    if reason := why_not(trained):
        raise MrgenError(reason)
    yield Exportable(
        name="reconstructor",
        module=networks["reconstructor"],
        inputs=(Port("inputs", ("b", input_channels(trained), "t", "y", "x")),),
        output="series",
        sizes=tuple(dict(zip("btyx", sizes, strict=True)) for sizes in _SIZES),
        help="Undersampled series, scaled as in training, to the series without their artefacts.",
    )
