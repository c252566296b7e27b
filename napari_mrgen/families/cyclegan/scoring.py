"""How much translated volumes are like the real ones, with the trivial methods beside them.

All methods see the same prepared volumes: on one grid, cut to the box around the brain, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_mrgen.data.heads.preprocessing import (
    PreprocessedData,
    PreprocessedSession,
    preprocess_inputs,
)
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.engine.task import Networks
from napari_mrgen.families.cyclegan.baselines import HistogramMatch, LookupTable
from napari_mrgen.families.cyclegan.config import CONTRASTS, CycleGanConfig
from napari_mrgen.families.cyclegan.networks import Direction
from napari_mrgen.families.cyclegan.training import preprocessing_spec
from napari_mrgen.families.cyclegan.translating import Values, translate
from napari_mrgen.metrics.images import psnr
from napari_mrgen.metrics.scoreboard import Score
from napari_mrgen.metrics.volumes import Comparison, compare_volumes

Mask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Method = Callable[[Values, Mask], Values]
"""From a volume ``(z, y, x)`` of 0 to 1, and its brain, to the other contrast."""

DIRECTIONS = (Direction("t1 to t2"), Direction("t2 to t1"))
MODEL, TABLE, MATCHED, UNCHANGED = "model", "lookup table", "matched histogram", "unchanged"


def score(networks: Networks, trained: CycleGanConfig, inputs: Inputs) -> Iterator[Score]:
    """Yield figures by direction, head and method; see `compare_volumes` for what they are.

    Where both directions are known, the model's row has the PSNR of the source after both. Heads
    that have one contrast only have that alone.
    """
    heads = Heads.of(trained, inputs)
    for direction in _known(networks):
        methods = {
            MODEL: _model(networks[direction.network], trained),
            **baselines(direction, heads.train),
        }
        for pair in heads.test:
            if not pair.has(direction.source):
                continue
            source, mask = _values(pair, direction.source), _mask(pair)
            for name, method in methods.items():
                made = method(source, mask)
                figures = _figures(made, pair, direction) if pair.is_paired else {}
                if name == MODEL and direction.inverse_network in networks:
                    again = translate(networks[direction.inverse_network], made, trained.legal)
                    figures["cycle PSNR in brain"] = _psnr(again, source, mask)
                if figures:
                    yield Score(f"{direction.target_title}: {name}", pair.name, figures)


def comparisons(
    networks: Networks, trained: CycleGanConfig, inputs: Inputs
) -> Iterator[Comparison]:
    """Yield each held-out head that has both contrasts, translated in each direction."""
    heads = Heads.of(trained, inputs)
    for direction in _known(networks):
        for pair in filter(lambda pair: pair.is_paired, heads.test):
            source = _values(pair, direction.source)
            made = translate(networks[direction.network], source, trained.legal)
            yield Comparison(
                subject=pair.name,
                title=direction.target_title,
                source=torch.from_numpy(source),
                made=torch.from_numpy(made),
                real=torch.from_numpy(_values(pair, direction.target)),
                mask=torch.from_numpy(_mask(pair)),
                spacing=pair.volume("mask").spacing,
            )


@dataclass(frozen=True)
class Heads:
    """Preprocessed heads to score, and those to fit the trivial methods on; of these maybe none."""

    train: tuple[PreprocessedSession, ...]
    test: tuple[PreprocessedSession, ...]

    @classmethod
    def of(cls, trained: CycleGanConfig, inputs: Inputs) -> Heads:
        """Make the scans ready as for the training, which has done so with most of them."""
        everyone = Split(tuple(sorted({*inputs.split.train, *inputs.split.test})), ())
        *_, last = preprocess_inputs(
            Inputs(inputs.references, everyone), CONTRASTS, preprocessing_spec(trained)
        )
        if not isinstance(last, PreprocessedData):
            msg = f"expected prepared heads, got {type(last).__name__}"
            raise TypeError(msg)
        wanted = inputs.split.test or inputs.split.train
        train = tuple(pair for pair in last.train if pair.subject in inputs.split.train)
        return cls(train, tuple(pair for pair in last.train if pair.subject in wanted))


def baselines(direction: Direction, train: Sequence[PreprocessedSession]) -> dict[str, Method]:
    """Fit the trivial methods on training heads; those that have nothing to learn from are missing.

    `LookupTable`, `HistogramMatch`, and the source as it is.
    """
    found: dict[str, Method] = {}
    pairs = [pair for pair in train if pair.is_paired]
    targets = [pair for pair in train if pair.has(direction.target)]
    if pairs:
        found[TABLE] = LookupTable.fit(
            (_values(pair, direction.source), _values(pair, direction.target), _mask(pair))
            for pair in pairs
        )
    if targets:
        found[MATCHED] = HistogramMatch.fit(
            (_values(pair, direction.target), _mask(pair)) for pair in targets
        )
    return {**found, UNCHANGED: lambda source, mask: source}


def _known(networks: Networks) -> Iterator[Direction]:
    return (direction for direction in DIRECTIONS if direction.network in networks)


def _model(network: nn.Module, trained: CycleGanConfig) -> Method:
    return lambda source, mask: translate(network, source, trained.legal)


def _figures(made: Values, pair: PreprocessedSession, direction: Direction) -> dict[str, float]:
    real, mask = _values(pair, direction.target), _mask(pair)
    volumes: list[Tensor] = [torch.from_numpy(values) for values in (made, real, mask)]
    return compare_volumes(*volumes)


def _psnr(made: Values, real: Values, mask: Mask) -> float:
    found, true, inside = (torch.from_numpy(values) for values in (made, real, mask))
    return float(psnr(found, true, mask=inside, dims=3))


def _values(pair: PreprocessedSession, contrast: str) -> Values:
    return np.array(pair.array(contrast), np.float32)


def _mask(pair: PreprocessedSession) -> Mask:
    return np.array(pair.array("mask"), bool)
