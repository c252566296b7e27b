"""Encoder, decoder and prior, each by itself; the codebook is in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from napari_mrgen.data.slices import TOLD
from napari_mrgen.engine.exportable import Exportable, Port, Sizes
from napari_mrgen.families.vqvae.config import VqVaeConfig
from napari_mrgen.families.vqvae.networks import codebook, decode, encode
from napari_mrgen.families.vqvae.published import NOISE

_MAPS = ((2, 8, 12), (1, 16, 10), (3, 9, 7))
"""Numbers of maps of codes, their rows and their columns."""
_COUNTS: tuple[Sizes, ...] = ({"n": 2}, {"n": 1}, {"n": 5})


def exports(networks: Mapping[str, nn.Module], trained: VqVaeConfig) -> Iterator[Exportable]:
    """Yield what codes slices, what draws them from codes, and what draws codes."""
    maps = tuple(dict(zip(("n", "h", "w"), sizes, strict=True)) for sizes in _MAPS)
    slices = tuple(
        {"n": size["n"], "y": trained.factor * size["h"], "x": trained.factor * size["w"]}
        for size in maps
    )
    yield Exportable(
        name="encoder",
        module=_Coder(networks),
        inputs=(Port("slices", ("n", 1, "y", "x")),),
        output="codes",
        sizes=slices,
        help=f"Slices of 0 to 1, their sides multiples of {trained.factor}, to numbers of codes.",
    )
    yield Exportable(
        name="decoder",
        module=_Painter(networks),
        inputs=(Port("codes", ("n", "h", "w"), "index", high=trained.codes),),
        output="slices",
        sizes=maps,
        help="Numbers of codes, from 0 on, to slices of 0 to 1.",
    )
    if "transformer" in networks:
        yield _transformer(networks, trained)
    if "generator" in networks:
        yield Exportable(
            name="generator",
            module=_CodeDrawer(networks),
            inputs=(Port("noise", ("n", NOISE), low=-2.0, high=2.0), Port("told", ("n", TOLD))),
            output="codes",
            sizes=_COUNTS,
            help="From normal noise, and what is told of a slice, to numbers of codes.",
        )


def _transformer(networks: Mapping[str, nn.Module], trained: VqVaeConfig) -> Exportable:
    side = trained.side
    return Exportable(
        name="transformer",
        module=_Prior(networks),
        inputs=(
            Port("codes", ("n", side, side), "index", high=trained.codes),
            Port("hidden", ("n", side, side), "flag"),
            Port("told", ("n", TOLD)),
        ),
        output="logits",
        sizes=_COUNTS,
        help="How likely each code is at each place, given those that are not hidden.",
    )


class _Alone(nn.Module):
    """Some networks of a model as one."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(dict(networks))

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return dict(self.networks.items())


class _Coder(_Alone):
    def forward(self, slices: Tensor) -> Tensor:
        return encode(self.parts, slices)


class _Painter(_Alone):
    def forward(self, codes: Tensor) -> Tensor:
        return decode(self.parts, codes)


class _Prior(_Alone):
    def forward(self, codes: Tensor, hidden: Tensor, told: Tensor) -> Tensor:
        vectors = codebook(self.parts).codes
        return self.networks["transformer"](codes, hidden, told, vectors)  # type: ignore[no-any-return]


class _CodeDrawer(_Alone):
    def forward(self, noise: Tensor, told: Tensor) -> Tensor:
        vectors = self.networks["generator"](noise, told)
        return codebook(self.parts)(vectors).indices  # type: ignore[no-any-return]
