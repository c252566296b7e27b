"""Series with artefacts of undersampling and their truth, for training: simulated, or as pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from napari_mrgen.data import cine as cines
from napari_mrgen.data import realtime
from napari_mrgen.data.cine import CineStore, fit_patch, integer, uniform
from napari_mrgen.data.heads.brain import Box, crop
from napari_mrgen.data.realtime import Gridded, Protocol
from napari_mrgen.data.scaling import Scaling
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Volume, VolumeInfo, mean_interval

SHORTEST, LONGEST = 12, 34
"""Frames in a beat that is played along a new motion curve."""
STRENGTH = 0.5
_BEGINNINGS = 32
"""Of a scan: golden angles cover the circle evenly from any frame on."""
_A_SERIES = 16
"""Samples of a series in an epoch."""
_HELD_OUT = 3


@dataclass(frozen=True)
class ScanSpec:
    """How series are scanned, and what a network is given of them."""

    frames: int
    patch: int
    protocol: Protocol
    spread: int
    """In training the number of spokes is drawn, so many more or fewer at most."""
    coils: int
    noise: float
    shared: bool
    """Whether the input has the averages over neighbouring frames too."""
    physics: bool
    """Whether the network goes back to the measured data: then samples tell what it needs."""
    retime: float = 0.0
    varied: bool = False


@dataclass(frozen=True)
class Case:
    """One slice as a network is given it: intensities divided by ``scale``."""

    inputs: Tensor
    """``(c, t, y, x)``."""
    scale: float
    physics: Mapping[str, Tensor]
    """Of a network that needs them ``maps`` ``(coils, y, x)`` and ``kernel`` ``(t, 2y, 2x)``."""
    magnitude: Tensor
    """``(1, t, y, x)``: of the zero-filled frames, what the published networks were given."""

    def sample(self, truth: Tensor) -> dict[str, Tensor]:
        """Return a training sample; ``truth`` is ``(t, y, x)`` as it was scanned."""
        scale = torch.tensor(self.scale)
        return {"inputs": self.inputs, "truth": truth[None] / scale, "scale": scale, **self.physics}


def simulate(frames: Tensor, spec: ScanSpec, g: torch.Generator) -> Case:
    """Scan frames ``(t, y, x)`` as the ``spec`` says, with coils, phase and noise drawn."""
    count, *sides = frames.shape
    shape = (sides[0], sides[1])
    maps = realtime.draw_maps(spec.coils, shape, g)
    measured = realtime.scan(frames, spec.protocol, maps, spec.noise, g)
    kernel = spec.protocol.kernel(count, shape) if spec.physics else None
    return case_of(realtime.grid(measured), kernel, shared=spec.shared)


def case_of(gridded: Gridded, kernel: Tensor | None, *, shared: bool) -> Case:
    """Put together what a network is given of a slice; with a ``kernel`` all that it needs.

    Without averages and without measured data it is magnitude.
    """
    series = gridded.series.real
    scale = realtime.scale_of(series)
    magnitude = gridded.series.abs()[None] / scale
    if shared:
        inputs = realtime.channels(series) / scale
    else:
        inputs = magnitude if kernel is None else series[None] / scale
    physics = {} if kernel is None else {"maps": gridded.maps, "kernel": kernel}
    return Case(inputs, scale, physics, magnitude)


class SimulatedScans:
    """Scans of fully sampled cines, simulated anew for every sample.

    A sample holds ``inputs`` (c, t, y, x), ``truth`` (1, t, y, x), ``scale`` () and, where the
    network needs them, ``maps`` (coils, y, x) and ``kernel`` (t, 2y, 2x).
    """

    def __init__(
        self, train: Sequence[Reference], test: Sequence[Reference], spec: ScanSpec
    ) -> None:
        self.train, self.test, self.spec = CineStore(train), CineStore(test), spec
        self._kept: dict[int, Mapping[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.train) * _A_SERIES

    def sample(self, index: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        spec, g = self.spec, generator
        cine = self.train[index % len(self.train)]
        z = integer(g, 0, cine.frames.shape[1] - 1)
        frames = cines.frames_at(cine, draw_positions(cine, spec, g), slice(z, z + 1))[:, 0]
        frames = fit_patch(frames, (spec.patch, spec.patch), draw_corner(frames, spec.patch, g))
        if spec.varied:
            frames = cines.random_spatial_augmentation(g).apply(frames[:, None])[:, 0]
        spokes = max(1, spec.protocol.spokes + integer(g, -spec.spread, spec.spread))
        first = integer(g, 0, _BEGINNINGS - 1)
        protocol = replace(spec.protocol, spokes=spokes, first=first)
        drawn = replace(spec, protocol=protocol, noise=uniform(g, 0, 2 * spec.noise))
        return simulate(frames, drawn, g).sample(frames)

    def held_out(self) -> Iterator[Mapping[str, Tensor]]:
        """Yield the middle slice of a few series, unvaried, as batches of one."""
        for index in range(min(_HELD_OUT, len(self.test))):
            yield {name: value[None] for name, value in self.held_out_series(index).items()}

    def held_out_series(self, index: int) -> Mapping[str, Tensor]:
        """Return the middle slice of a series, unvaried; `held_out_place` tells where it lies."""
        if index not in self._kept:
            cine, spec = self.test[index], self.spec
            every = cine.frames[: cine.cycle or None, cine.frames.shape[1] // 2]
            frames = fit_patch(every, (spec.patch, spec.patch)).contiguous()
            case = simulate(frames, spec, torch.Generator().manual_seed(index))
            self._kept[index] = case.sample(frames)
        return self._kept[index]

    def held_out_place(self, index: int) -> Volume:
        return middle_slice(self.test.references[index].read())

    def describe(self) -> Mapping[str, Any]:
        return describe(self._first, self.spec)

    @cached_property
    def _first(self) -> VolumeInfo:
        """Read once: every checkpoint asks for it."""
        return self.train.references[0].info()


class PairedSeries:
    """Series with artefacts and their truth, read from files one at a time; samples as above."""

    def __init__(
        self,
        train: Sequence[tuple[Reference, Reference]],
        test: Sequence[tuple[Reference, Reference]],
        spec: ScanSpec,
    ) -> None:
        self.train, self.test, self.spec = tuple(train), tuple(test), spec

    def __len__(self) -> int:
        return len(self.train)

    def sample(self, index: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        spec, g = self.spec, generator
        series, truth = read_pair(*self.train[index])
        z = integer(g, 0, series.shape[1] - 1)
        first = integer(g, 0, max(0, len(series) - spec.frames))
        corner = draw_corner(series, spec.patch, g)
        size = (spec.patch, spec.patch)
        taken = torch.arange(first, first + spec.frames).clamp(max=len(series) - 1)
        cut, wanted = (fit_patch(s[taken, z], size, corner) for s in (series, truth))
        return case_of_magnitude(cut, shared=spec.shared).sample(wanted)

    def held_out(self) -> Iterator[Mapping[str, Tensor]]:
        for index in range(min(_HELD_OUT, len(self.test))):
            yield {name: value[None] for name, value in self.held_out_series(index).items()}

    def held_out_series(self, index: int) -> Mapping[str, Tensor]:
        series, truth = read_pair(*self.test[index])
        z = series.shape[1] // 2
        return case_of_magnitude(series[:, z], shared=self.spec.shared).sample(truth[:, z])

    def held_out_place(self, index: int) -> Volume:
        return middle_slice(self.test[index][0].read())

    def describe(self) -> Mapping[str, Any]:
        return describe(self._first, self.spec)

    @cached_property
    def _first(self) -> VolumeInfo:
        return self.train[0][0].info()


def case_of_magnitude(series: Tensor, *, shared: bool) -> Case:
    """Put together what a network is given of a series ``(t, y, x)`` that was gridded elsewhere."""
    no_maps = torch.ones(1, *series.shape[-2:], dtype=torch.complex64)
    return case_of(Gridded(series.to(torch.complex64), no_maps), None, shared=shared)


def pair_series(
    series: Sequence[Reference], truths: Sequence[Reference]
) -> tuple[tuple[Reference, Reference], ...]:
    """Pair series with their truth: both lists must name the same subjects in the same order."""
    names, known = ([one.subject for one in scans] for scans in (series, truths))
    if lonely := sorted(set(names) ^ set(known)):
        msg = (
            f"Expected a truth of the same name for every undersampled series: {lonely[0]!r} is in "
            f"one of both only, as are {len(lonely) - 1} others. Name the files of both alike."
        )
        raise MrgenError(msg)
    if names != known:
        raise MrgenError("The undersampled series and their truths are not in the same order.")
    return tuple(zip(series, truths, strict=True))


def read_pair(series: Reference, truth: Reference) -> tuple[Tensor, Tensor]:
    """Read both as ``(t, z, y, x)``, divided by what is 1 in the truth."""
    left, right = series.read().array, truth.read().array
    if left.shape != right.shape:
        msg = f"{series.path} has the shape {left.shape}, its truth {right.shape}."
        raise MrgenError(msg)
    scaling = Scaling.fit(right)
    return torch.from_numpy(scaling.apply(left)), torch.from_numpy(scaling.apply(right))


def middle_slice(volume: Volume) -> Volume:
    z, (y, x) = volume.size("z") // 2, volume.array.shape[-2:]
    return crop(volume, Box((z, 0, 0), (z + 1, y, x)))


def draw_positions(cine: cines.Cine, spec: ScanSpec, g: torch.Generator) -> Tensor:
    """Draw which (fractional) frames of a cine are scanned; beat follows beat where it repeats."""
    count, have = torch.arange(spec.frames).double(), len(cine.frames)
    if not cine.cycle:
        rate = min(1.0, (have - 1) / max(1, spec.frames - 1))
        return count * rate + uniform(g, 0, have - 1 - float(count[-1]) * rate)
    if uniform(g, 0, 1) >= spec.retime:
        return (count + integer(g, 0, cine.cycle - 1)) % cine.cycle
    retiming = cines.random_retiming(g, SHORTEST, LONGEST, STRENGTH)
    start = uniform(g, 0, retiming.cycle)
    return retiming.apply(count + start, cine.cycle) % cine.cycle


def draw_corner(frames: Tensor, size: int, g: torch.Generator) -> tuple[int, int]:
    y, x = (integer(g, 0, max(0, side - size)) for side in frames.shape[-2:])
    return y, x


def describe(first: VolumeInfo, spec: ScanSpec) -> Mapping[str, Any]:
    """Tell what goes into the model file of these data."""
    return {
        "scaling": {"method": "percentile of the time average", "percentile": 99.5, "per": "slice"},
        "axes": "tzyx",
        "shape": [spec.frames, 1, spec.patch, spec.patch],
        "spacing_mm": [round(length, 4) for length in first.spacing],
        "frame_interval_s": mean_interval(first.times),
        "spokes": spec.protocol.spokes,
    }
