"""ONNX export of encoder, decoder and prior; the codebook is part of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from napari_mrgen.data.slices import CONDITIONS
from napari_mrgen.engine.exportable import Exportable, Port, Sizes
from napari_mrgen.families.vqvae.config import VqVaeConfig
from napari_mrgen.families.vqvae.networks import codebook, decode, encode
from napari_mrgen.families.vqvae.published import NOISE

_MAPS = ((2, 8, 12), (1, 16, 10), (3, 9, 7))
"""Counts of maps of codes, their rows and their columns."""
_COUNTS: tuple[Sizes, ...] = ({"n": 2}, {"n": 1}, {"n": 5})


def vqvae_exports(networks: Mapping[str, nn.Module], trained: VqVaeConfig) -> Iterator[Exportable]:
    """Yield encoder, decoder and prior."""
    maps = tuple(dict(zip(("n", "h", "w"), sizes, strict=True)) for sizes in _MAPS)
    slices = tuple(
        {"n": size["n"], "y": trained.factor * size["h"], "x": trained.factor * size["w"]}
        for size in maps
    )
    yield Exportable(
        name="encoder",
        module=_CodeEncoder(networks),
        inputs=(Port("slices", ("n", 1, "y", "x")),),
        output="codes",
        sizes=slices,
        help=f"From slices between 0 and 1, sides multiples of {trained.factor}, to indices of "
        "codes.",
    )
    yield Exportable(
        name="decoder",
        module=_CodeDecoder(networks),
        inputs=(Port("codes", ("n", "h", "w"), "index", high=trained.codes),),
        output="slices",
        sizes=maps,
        help="Indices of codes, from 0 on, to slices between 0 and 1.",
    )
    if "transformer" in networks:
        yield _transformer(networks, trained)
    if "generator" in networks:
        yield Exportable(
            name="generator",
            module=_CodeSampler(networks),
            inputs=(
                Port("noise", ("n", NOISE), low=-2.0, high=2.0),
                Port("conditions", ("n", CONDITIONS)),
            ),
            output="codes",
            sizes=_COUNTS,
            help="From normal noise and conditions to indices of codes.",
        )


def _transformer(networks: Mapping[str, nn.Module], trained: VqVaeConfig) -> Exportable:
    side = trained.side
    return Exportable(
        name="transformer",
        module=_Prior(networks),
        inputs=(
            Port("codes", ("n", side, side), "index", high=trained.codes),
            Port("hidden", ("n", side, side), "flag"),
            Port("conditions", ("n", CONDITIONS)),
        ),
        output="logits",
        sizes=_COUNTS,
        help="Logits of each code at each position, given those that are not hidden.",
    )


class _Bundle(nn.Module):
    """Networks of a model as one module."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(dict(networks))

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return dict(self.networks.items())


class _CodeEncoder(_Bundle):
    def forward(self, slices: Tensor) -> Tensor:
        return encode(self.parts, slices)


class _CodeDecoder(_Bundle):
    def forward(self, codes: Tensor) -> Tensor:
        return decode(self.parts, codes)


class _Prior(_Bundle):
    def forward(self, codes: Tensor, hidden: Tensor, conditions: Tensor) -> Tensor:
        vectors = codebook(self.parts).codes
        return self.networks["transformer"](codes, hidden, conditions, vectors)  # type: ignore[no-any-return]


class _CodeSampler(_Bundle):
    def forward(self, noise: Tensor, conditions: Tensor) -> Tensor:
        vectors = self.networks["generator"](noise, conditions)
        return codebook(self.parts)(vectors).indices  # type: ignore[no-any-return]
