"""How much translated volumes are like the real ones, with the trivial methods beside them.

All methods see the same prepared volumes: on one grid, cut to the box around the brain, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_mrgen.data.heads.preprocessing import Prepared, PreparedPair, prepare_inputs
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.families.cyclegan.baselines import HistogramMatch, LookupTable
from napari_mrgen.families.cyclegan.config import CycleGanConfig
from napari_mrgen.families.cyclegan.networks import Way
from napari_mrgen.families.cyclegan.training import prepare_spec
from napari_mrgen.families.cyclegan.translating import Values, translate
from napari_mrgen.metrics.images import psnr
from napari_mrgen.metrics.scoreboard import Score
from napari_mrgen.metrics.volumes import Comparison, compare_volumes

Networks = Mapping[str, nn.Module]
Mask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Method = Callable[[Values, Mask], Values]
"""From a volume ``(z, y, x)`` of 0 to 1, and its brain, to the other contrast."""

DIRECTIONS = (Way("t1 to t2"), Way("t2 to t1"))
MODEL, TABLE, MATCHED, UNCHANGED = "model", "lookup table", "matched histogram", "unchanged"


def score(networks: Networks, trained: CycleGanConfig, inputs: Inputs) -> Iterator[Score]:
    """Yield figures by direction, head and method; see `compare_volumes` for what they are.

    Where both directions are known, the model's row has the PSNR of the source after both. Heads
    that have one contrast only have that alone.
    """
    heads = Heads.of(trained, inputs)
    for way in _known(networks):
        methods = {MODEL: _model(networks[way.there], trained), **baselines(way, heads.train)}
        for pair in heads.test:
            if not pair.has(way.source):
                continue
            source, mask = _values(pair, way.source), _mask(pair)
            for name, method in methods.items():
                made = method(source, mask)
                figures = _figures(made, pair, way) if pair.is_paired else {}
                if name == MODEL and way.back in networks:
                    again = translate(networks[way.back], made, trained.legal)
                    figures["cycle PSNR in brain"] = _psnr(again, source, mask)
                if figures:
                    yield Score(f"{way.target_title}: {name}", pair.name, figures)


def comparisons(
    networks: Networks, trained: CycleGanConfig, inputs: Inputs
) -> Iterator[Comparison]:
    """Yield each held-out head that has both contrasts, translated in each direction."""
    heads = Heads.of(trained, inputs)
    for way in _known(networks):
        for pair in filter(lambda pair: pair.is_paired, heads.test):
            source = _values(pair, way.source)
            made = translate(networks[way.there], source, trained.legal)
            yield Comparison(
                subject=pair.name,
                title=way.target_title,
                source=torch.from_numpy(source),
                made=torch.from_numpy(made),
                real=torch.from_numpy(_values(pair, way.target)),
                mask=torch.from_numpy(_mask(pair)),
                spacing=pair.volume("mask").spacing,
            )


@dataclass(frozen=True)
class Heads:
    """Prepared heads to score, and those to fit the trivial methods on; of these maybe none."""

    train: tuple[PreparedPair, ...]
    test: tuple[PreparedPair, ...]

    @classmethod
    def of(cls, trained: CycleGanConfig, inputs: Inputs) -> Heads:
        """Make the scans ready as for the training, which has done so with most of them."""
        everyone = Split(tuple(sorted({*inputs.split.train, *inputs.split.test})), ())
        *_, last = prepare_inputs(Inputs(inputs.references, everyone), prepare_spec(trained))
        if not isinstance(last, Prepared):
            msg = f"expected prepared heads, got {type(last).__name__}"
            raise TypeError(msg)
        wanted = inputs.split.test or inputs.split.train
        train = tuple(pair for pair in last.train if pair.subject in inputs.split.train)
        return cls(train, tuple(pair for pair in last.train if pair.subject in wanted))


def baselines(way: Way, train: Sequence[PreparedPair]) -> dict[str, Method]:
    """Fit the trivial methods on training heads; those that have nothing to learn from are missing.

    `LookupTable`, `HistogramMatch`, and the source as it is.
    """
    found: dict[str, Method] = {}
    pairs = [pair for pair in train if pair.is_paired]
    targets = [pair for pair in train if pair.has(way.target)]
    if pairs:
        found[TABLE] = LookupTable.fit(
            (_values(pair, way.source), _values(pair, way.target), _mask(pair)) for pair in pairs
        )
    if targets:
        found[MATCHED] = HistogramMatch.fit(
            (_values(pair, way.target), _mask(pair)) for pair in targets
        )
    return {**found, UNCHANGED: lambda source, mask: source}


def _known(networks: Networks) -> Iterator[Way]:
    return (way for way in DIRECTIONS if way.there in networks)


def _model(network: nn.Module, trained: CycleGanConfig) -> Method:
    return lambda source, mask: translate(network, source, trained.legal)


def _figures(made: Values, pair: PreparedPair, way: Way) -> dict[str, float]:
    real, mask = _values(pair, way.target), _mask(pair)
    volumes: list[Tensor] = [torch.from_numpy(values) for values in (made, real, mask)]
    return compare_volumes(*volumes)


def _psnr(made: Values, real: Values, mask: Mask) -> float:
    found, true, inside = (torch.from_numpy(values) for values in (made, real, mask))
    return float(psnr(found, true, mask=inside, dims=3))


def _values(pair: PreparedPair, domain: str) -> Values:
    return np.array(pair.array(domain), np.float32)


def _mask(pair: PreparedPair) -> Mask:
    return np.array(pair.array("mask"), bool)
