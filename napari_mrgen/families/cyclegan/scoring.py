"""How much translated volumes are like the real ones, beside baselines.

All methods translate the same preprocessed volumes: on one grid, cut to the box around the brain,
0 to 1. The baselines map each voxel by its intensity alone, inside a mask of the brain, and change
nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from napari_mrgen.data.heads.cache import PreprocessedSession
from napari_mrgen.data.heads.preprocessing import PreprocessedData, preprocess_inputs
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.engine.task import Networks
from napari_mrgen.families.cyclegan.config import CONTRASTS, CycleGanConfig
from napari_mrgen.families.cyclegan.networks import ALL_DIRECTIONS, Direction
from napari_mrgen.families.cyclegan.sampling import Values, translate
from napari_mrgen.families.cyclegan.training import preprocessing_spec
from napari_mrgen.metrics.images import psnr
from napari_mrgen.metrics.scoreboard import Score
from napari_mrgen.metrics.volumes import Comparison, compare_volumes

Mask = npt.NDArray[np.bool_]
Method = Callable[[Values, Mask], Values]
"""From a volume ``(z, y, x)`` of 0 to 1, and its brain, to the other contrast."""

MODEL, TABLE, MATCHED, UNCHANGED = "model", "lookup table", "matched histogram", "unchanged"

TABLE_BINS = 128
_QUANTILES = 1000
"""Quantiles by which histograms are matched."""


def score_translations(
    networks: Networks, trained: CycleGanConfig, inputs: Inputs
) -> Iterator[Score]:
    """Yield metrics by direction, head and method; see `compare_volumes` for what they are.

    Where both directions are known, the model's row has the PSNR of the source after both. Heads
    that have one contrast only have that alone.
    """
    heads = Heads.of(trained, inputs)
    for direction in ALL_DIRECTIONS:
        if direction.network not in networks:
            continue

        def model(source: Values, mask: Mask, network: str = direction.network) -> Values:
            return translate(networks[network], source, trained.legal)

        methods: dict[str, Method] = {MODEL: model, **baselines(direction, heads.train)}
        for session in heads.test:
            if not session.has(direction.source):
                continue
            source, mask = _values(session, direction.source), _mask(session)
            for name, method in methods.items():
                result = torch.from_numpy(method(source, mask))
                metrics: dict[str, float] = {}
                if session.is_paired:
                    real = torch.from_numpy(_values(session, direction.target))
                    metrics = compare_volumes(result, real, torch.from_numpy(mask))
                if name == MODEL and direction.inverse_network in networks:
                    inverse = networks[direction.inverse_network]
                    cycled = torch.from_numpy(translate(inverse, result.numpy(), trained.legal))
                    true, inside = torch.from_numpy(source), torch.from_numpy(mask)
                    metrics["cycle PSNR in brain"] = float(psnr(cycled, true, mask=inside, dims=3))
                if metrics:
                    yield Score(f"{direction.target_title}: {name}", session.name, metrics)


def compare_translations(
    networks: Networks, trained: CycleGanConfig, inputs: Inputs
) -> Iterator[Comparison]:
    """Yield each held-out head that has both contrasts, translated in each direction."""
    heads = Heads.of(trained, inputs)
    for direction in ALL_DIRECTIONS:
        if direction.network not in networks:
            continue
        for session in heads.test:
            if not session.is_paired:
                continue
            source = _values(session, direction.source)
            translated = translate(networks[direction.network], source, trained.legal)
            yield Comparison(
                subject=session.name,
                title=direction.target_title,
                source=torch.from_numpy(source),
                synthetic=torch.from_numpy(translated),
                real=torch.from_numpy(_values(session, direction.target)),
                mask=torch.from_numpy(_mask(session)),
                spacing=session.volume("mask").spacing,
            )


@dataclass(frozen=True)
class Heads:
    """Preprocessed heads to score, and those to fit the baselines on, which may be none."""

    train: tuple[PreprocessedSession, ...]
    test: tuple[PreprocessedSession, ...]

    @classmethod
    def of(cls, trained: CycleGanConfig, inputs: Inputs) -> Self:
        """Preprocess the scans as for the training, which has cached most of them."""
        everyone = Split(tuple(sorted({*inputs.split.train, *inputs.split.test})), ())
        everything = Inputs(inputs.references, everyone)
        *_, last = preprocess_inputs(everything, CONTRASTS, preprocessing_spec(trained))
        if not isinstance(last, PreprocessedData):
            msg = f"expected preprocessed heads, got {type(last).__name__}"
            raise TypeError(msg)
        held_out = inputs.split.test or inputs.split.train
        train = tuple(one for one in last.train if one.subject in inputs.split.train)
        return cls(train, tuple(one for one in last.train if one.subject in held_out))


def _values(session: PreprocessedSession, contrast: str) -> Values:
    return np.array(session.array(contrast), np.float32)


def _mask(session: PreprocessedSession) -> Mask:
    return np.array(session.array("mask"), bool)


# ---- baselines ----------------------------------------------------------------------------------


def baselines(direction: Direction, train: Sequence[PreprocessedSession]) -> Mapping[str, Method]:
    """Fit the baselines on training heads; those that have nothing to learn from are missing.

    `LookupTable`, `HistogramMatch`, and the source as it is.
    """
    methods: dict[str, Method] = {}
    paired = [one for one in train if one.is_paired]
    targets = [one for one in train if one.has(direction.target)]
    if paired:
        methods[TABLE] = LookupTable.fit(
            (_values(one, direction.source), _values(one, direction.target), _mask(one))
            for one in paired
        )
    if targets:
        methods[MATCHED] = HistogramMatch.fit(
            (_values(one, direction.target), _mask(one)) for one in targets
        )
    return {**methods, UNCHANGED: lambda source, mask: source}


@dataclass(frozen=True)
class LookupTable:
    """The mean target value of each source value: of all such maps the one of least squared error.

    Source values of 0 to 1 fall into 128 bins of equal width; others into the first or last. A bin
    without training voxels takes its value from its neighbours.
    """

    values: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, pairs: Iterable[tuple[Values, Values, Mask]]) -> Self:
        """Learn from source, target and mask of each training pair; one at a time is in memory."""
        count, total = np.zeros((2, TABLE_BINS))
        for source, target, mask in pairs:
            bins = _bin(source[mask])
            count += np.bincount(bins, minlength=TABLE_BINS)
            total += np.bincount(bins, target[mask], minlength=TABLE_BINS)
        filled = np.flatnonzero(count)
        if not len(filled):
            raise ValueError("a lookup table needs at least one voxel in a mask, got none")
        return cls(np.interp(np.arange(TABLE_BINS), filled, total[filled] / count[filled]))

    def __call__(self, source: Values, mask: Mask) -> Values:
        result = source.copy()
        result[mask] = self.values[_bin(source[mask])]
        return result


@dataclass(frozen=True)
class HistogramMatch:
    """Gives an image the distribution of intensities that the training targets have."""

    quantiles: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, targets: Iterable[tuple[Values, Mask]]) -> Self:
        """Average the quantiles of the training targets, so that each counts alike."""
        quantiles = [_quantiles(target[mask]) for target, mask in targets]
        if not quantiles:
            raise ValueError("matching histograms needs at least one training target, got none")
        return cls(np.mean(quantiles, axis=0))

    def __call__(self, source: Values, mask: Mask) -> Values:
        result = source.copy()
        result[mask] = np.interp(source[mask], _quantiles(source[mask]), self.quantiles)
        return result


def _bin(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    return np.clip(values * TABLE_BINS, 0, TABLE_BINS - 1).astype(np.int64)


def _quantiles(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.asarray(np.quantile(values, np.linspace(0, 1, _QUANTILES)))
