"""ONNX export of the networks that predict frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from torch import nn

from napari_mrgen.engine.exportable import Exportable, Port
from napari_mrgen.families.frame_prediction.config import FramePredictionConfig

_SIZES = ((2, 8, 48, 32), (1, 4, 16, 64), (3, 12, 32, 48))
_FRAMES = (5, 3, 1)


def predictor_exports(
    networks: Mapping[str, nn.Module], trained: FramePredictionConfig
) -> Iterator[Exportable]:
    """Yield the predictor and its texture network."""
    generator = networks["generator"]
    z, y, x = cast("tuple[int, int, int]", generator.multiple)
    yield Exportable(
        name="generator",
        module=generator,
        inputs=(
            Port("context", ("b", trained.context, "z", "y", "x")),
            Port("recent", ("b", cast("int", generator.seen), "z", "y", "x")),
            Port("lead", ("b",), high=20.0),
            Port("cycle", ("b",), low=20.0, high=40.0),
        ),
        output="frames",
        sizes=tuple(dict(zip("bzyx", sizes, strict=True)) for sizes in _SIZES),
        help=(
            f"The next frames; sides z, y, x must be multiples of {z}, {y}, {x}. lead: frames "
            "since the context; cycle: frames in a cardiac cycle, 0 where unknown."
        ),
    )
    if "texture" in networks:
        yield Exportable(
            name="texture",
            module=networks["texture"],
            inputs=(
                Port("prediction", ("b", "t", "z", "y", "x")),
                Port("last", ("b", 1, "z", "y", "x")),
            ),
            output="frames",
            sizes=tuple(
                {"t": count, **dict(zip("bzyx", sizes, strict=True))}
                for count, sizes in zip(_FRAMES, _SIZES, strict=True)
            ),
            help="From predicted frames and the last real one to frames with fine texture.",
        )
