"""Undersampled series and their truth: simulated or in pairs, and what a network gets of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
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
from napari_mrgen.data.realtime import Gridded, Protocol, RadialSamples
from napari_mrgen.data.scaling import Scaling
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import Reference
from napari_mrgen.kspace import KSpace
from napari_mrgen.mri import gridding, nufft
from napari_mrgen.volume import Volume, VolumeInfo, mean_interval

SHORTEST_CYCLE, LONGEST_CYCLE = 12, 34
"""Range of the cycle length after temporal augmentation, in frames."""
RETIMING_STRENGTH = 0.5
_FIRST_FRAMES = 32
"""Range of a scan's first frame; golden angles cover the circle evenly from any frame on."""
_SAMPLES_PER_SERIES = 16
"""Samples of a series in an epoch."""
_HELD_OUT_SERIES = 3
_TOLERANCE, _STRAIGHT_SHARE = 0.05, 0.9
"""Relative deviation of a step along a spoke, and the share of steps that must keep to it."""


@dataclass(frozen=True)
class ScanSpec:
    """How series are scanned, and what a network gets of them."""

    frames: int
    patch: int
    protocol: Protocol
    spokes_variation: int
    """Greatest random change of the number of spokes in training."""
    coils: int
    noise: float
    view_sharing: bool
    """Whether the input contains averages over neighbouring frames too."""
    with_operator: bool
    """Whether the network applies data consistency: then it needs maps and kernel."""
    retimed_share: float = 0.0
    augmentation: bool = False


@dataclass(frozen=True)
class NetworkInputs:
    """What a network gets of one slice, with intensities divided by ``scale``.

    Attributes
    ----------
    channels
        ``(c, t, y, x)``.
    scale
        Intensity that becomes 1.
    operator
        For a network with data consistency, ``maps`` ``(coils, y, x)`` and ``kernel`` ``(t, 2y,
        2x)`` of the normal operator.
    magnitude
        Magnitude of the zero-filled frames, ``(1, t, y, x)``: the input of the published networks.
    """

    channels: Tensor
    scale: float
    operator: Mapping[str, Tensor]
    magnitude: Tensor

    def with_truth(self, truth: Tensor) -> dict[str, Tensor]:
        """Return a training sample; ``truth`` is ``(t, y, x)`` in the scale of the scan."""
        scale = torch.tensor(self.scale)
        sample = {"inputs": self.channels, "truth": truth[None] / scale, "scale": scale}
        return {**sample, **self.operator}


# ---- network inputs of a scan -------------------------------------------------------------------


def network_inputs(gridded: Gridded, kernel: Tensor | None, *, view_sharing: bool) -> NetworkInputs:
    """Return a network's inputs of a gridded slice; ``kernel`` is for data consistency only.

    Without view sharing and data consistency the input is magnitude.
    """
    series = gridded.series.real
    scale = realtime.intensity_scale(series)
    magnitude = gridded.series.abs()[None] / scale
    if view_sharing:
        channels = realtime.averaged_channels(series) / scale
    else:
        channels = magnitude if kernel is None else series[None] / scale
    operator = {} if kernel is None else {"maps": gridded.maps, "kernel": kernel}
    return NetworkInputs(channels, scale, operator, magnitude)


def simulated_inputs(frames: Tensor, spec: ScanSpec, g: torch.Generator) -> NetworkInputs:
    """Simulate a scan of frames ``(t, y, x)`` with random coils and phase, and grid it."""
    count, *sides = frames.shape
    shape = (sides[0], sides[1])
    maps = realtime.random_maps(spec.coils, shape, g)
    samples = realtime.scan(frames, spec.protocol, maps, spec.noise, g)
    kernel = spec.protocol.kernel(count, shape) if spec.with_operator else None
    return network_inputs(realtime.grid(samples), kernel, view_sharing=spec.view_sharing)


def inputs_of_magnitude(series: Tensor, *, view_sharing: bool) -> NetworkInputs:
    """Return a network's inputs of a series ``(t, y, x)`` that was gridded elsewhere."""
    no_maps = torch.ones(1, *series.shape[-2:], dtype=torch.complex64)
    gridded = Gridded(series.to(torch.complex64), no_maps)
    return network_inputs(gridded, None, view_sharing=view_sharing)


def inputs_of_samples(
    samples: RadialSamples, *, view_sharing: bool, with_operator: bool
) -> NetworkInputs:
    """Return a network's inputs of the samples of a slice."""
    kernel = None
    if with_operator:
        kernel = nufft.toeplitz_kernel(samples.trajectory, samples.weights, samples.shape)
    return network_inputs(realtime.grid(samples), kernel, view_sharing=view_sharing)


def radial_slices(kspace: KSpace) -> Iterator[RadialSamples]:
    """Yield the samples of each slice of radial k-space.

    Raises
    ------
    MrgenError
        If the samples lie on a grid, or along anything but spokes.
    """
    if kspace.trajectory is None:
        msg = (
            f"{kspace.name or 'This file'} holds k-space on a grid; the model was trained on "
            "spokes: give a file with a radial trajectory."
        )
        raise MrgenError(msg)
    trajectory = torch.from_numpy(kspace.trajectory)
    if not is_radial(trajectory):
        msg = (
            f"The samples of {kspace.name or 'this file'} do not lie along spokes; the model was "
            "trained on spokes: give a radial scan."
        )
        raise MrgenError(msg)
    weights = gridding.radial_weights(trajectory)
    for z in range(kspace.slices):
        samples = torch.from_numpy(kspace.samples[:, z])
        yield RadialSamples(samples, trajectory, weights, kspace.shape)


def is_radial(trajectory: Tensor) -> bool:
    """Whether samples ``(t, k, 2)`` lie along spokes: evenly, and straight through the centre.

    Examples
    --------
    >>> from napari_mrgen.mri.trajectories import radial
    >>> is_radial(radial(frames=2, spokes=5, samples=32))
    True
    >>> is_radial(torch.rand(2, 40, 2, generator=torch.Generator().manual_seed(0)))
    False
    """
    steps = trajectory[:, 1:] - trajectory[:, :-1]
    lengths, ends = steps.norm(dim=-1), trajectory[:, 1:]
    offset = (ends[..., 0] * steps[..., 1] - ends[..., 1] * steps[..., 0]).abs()
    is_straight = offset <= _TOLERANCE * (ends.norm(dim=-1) * lengths + 1e-6)
    is_even = (lengths / lengths.median() - 1).abs() < _TOLERANCE
    return bool((is_straight & is_even).float().mean() > _STRAIGHT_SHARE)


# ---- training data ------------------------------------------------------------------------------


class SeriesData(ABC):
    """Training data of reconstruction.

    A sample holds ``inputs`` (c, t, y, x), ``truth`` (1, t, y, x), ``scale`` () and, for a network
    with data consistency, ``maps`` (coils, y, x) and ``kernel`` (t, 2y, 2x).
    """

    def __init__(
        self, train: Sequence[Reference], test: Sequence[Reference], spec: ScanSpec
    ) -> None:
        self._train, self._test, self.spec = tuple(train), tuple(test), spec

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples in an epoch."""

    @abstractmethod
    def sample(self, index: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Return a training sample."""

    @abstractmethod
    def held_out_series(self, index: int) -> Mapping[str, Tensor]:
        """Return the middle slice of a held-out series, without augmentation."""

    def held_out(self) -> Iterator[Mapping[str, Tensor]]:
        """Yield the middle slice of a few held-out series, as batches of one."""
        for index in range(min(_HELD_OUT_SERIES, len(self._test))):
            yield {name: value[None] for name, value in self.held_out_series(index).items()}

    def held_out_volume(self, index: int) -> Volume:
        """Return the slice of the source from which `held_out_series` is made."""
        volume = self._test[index].read()
        z, (y, x) = volume.size("z") // 2, volume.array.shape[-2:]
        return crop(volume, Box((z, 0, 0), (z + 1, y, x)))

    def describe(self) -> Mapping[str, Any]:
        """Return the facts of the data that a model file holds."""
        first, spec = self._first, self.spec
        return {
            "scaling": {
                "method": "percentile of the time average",
                "percentile": 99.5,
                "per": "slice",
            },
            "axes": "tzyx",
            "shape": [spec.frames, 1, spec.patch, spec.patch],
            "spacing_mm": [round(length, 4) for length in first.spacing],
            "frame_interval_s": mean_interval(first.times),
            "spokes": spec.protocol.spokes,
        }

    @cached_property
    def _first(self) -> VolumeInfo:
        """Read once: every checkpoint asks for it."""
        return self._train[0].info()


class SimulatedScans(SeriesData):
    """Scans of fully sampled cines, simulated anew for every sample."""

    def __init__(
        self, train: Sequence[Reference], test: Sequence[Reference], spec: ScanSpec
    ) -> None:
        super().__init__(train, test, spec)
        self._train_cines, self._test_cines = CineStore(train), CineStore(test)
        self._simulated: dict[int, Mapping[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self._train) * _SAMPLES_PER_SERIES

    def sample(self, index: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        spec, g = self.spec, generator
        cine = self._train_cines[index % len(self._train)]
        z = integer(g, 0, cine.frames.shape[1] - 1)
        frames = cines.frames_at(cine, _random_positions(cine, spec, g), slice(z, z + 1))[:, 0]
        corner = _random_corner(frames, spec.patch, g)
        frames = fit_patch(frames, (spec.patch, spec.patch), corner)
        if spec.augmentation:
            frames = cines.random_spatial_augmentation(g).apply(frames[:, None])[:, 0]
        change = integer(g, -spec.spokes_variation, spec.spokes_variation)
        spokes = max(1, spec.protocol.spokes + change)
        protocol = replace(spec.protocol, spokes=spokes, first=integer(g, 0, _FIRST_FRAMES - 1))
        varied = replace(spec, protocol=protocol, noise=uniform(g, 0, 2 * spec.noise))
        return simulated_inputs(frames, varied, g).with_truth(frames)

    def held_out_series(self, index: int) -> Mapping[str, Tensor]:
        if index not in self._simulated:
            cine, spec = self._test_cines[index], self.spec
            frames = cine.frames[: cine.cycle or None, cine.frames.shape[1] // 2]
            frames = fit_patch(frames, (spec.patch, spec.patch)).contiguous()
            inputs = simulated_inputs(frames, spec, torch.Generator().manual_seed(index))
            self._simulated[index] = inputs.with_truth(frames)
        return self._simulated[index]


class PairedSeries(SeriesData):
    """Undersampled series and their truth, read from files one at a time."""

    def __init__(
        self,
        train: Sequence[tuple[Reference, Reference]],
        test: Sequence[tuple[Reference, Reference]],
        spec: ScanSpec,
    ) -> None:
        super().__init__([series for series, _ in train], [series for series, _ in test], spec)
        self._train_pairs, self._test_pairs = tuple(train), tuple(test)

    def __len__(self) -> int:
        return len(self._train_pairs)

    def sample(self, index: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        spec, g = self.spec, generator
        series, truth = read_pair(*self._train_pairs[index])
        z = integer(g, 0, series.shape[1] - 1)
        first = integer(g, 0, max(0, len(series) - spec.frames))
        corner = _random_corner(series, spec.patch, g)
        size = (spec.patch, spec.patch)
        frames = torch.arange(first, first + spec.frames).clamp(max=len(series) - 1)
        series, truth = (fit_patch(one[frames, z], size, corner) for one in (series, truth))
        return inputs_of_magnitude(series, view_sharing=spec.view_sharing).with_truth(truth)

    def held_out_series(self, index: int) -> Mapping[str, Tensor]:
        series, truth = read_pair(*self._test_pairs[index])
        z = series.shape[1] // 2
        inputs = inputs_of_magnitude(series[:, z], view_sharing=self.spec.view_sharing)
        return inputs.with_truth(truth[:, z])


def pair_series(
    series: Sequence[Reference], truths: Sequence[Reference]
) -> tuple[tuple[Reference, Reference], ...]:
    """Pair series with their truth: both lists must name the same subjects in the same order."""
    subjects, true_subjects = ([one.subject for one in scans] for scans in (series, truths))
    if unpaired := sorted(set(subjects) ^ set(true_subjects)):
        msg = (
            f"Expected a truth of the same name for every undersampled series: {unpaired[0]!r} is "
            f"in one of both only, as are {len(unpaired) - 1} others. Name the files of both alike."
        )
        raise MrgenError(msg)
    if subjects != true_subjects:
        raise MrgenError("The undersampled series and their truths are not in the same order.")
    return tuple(zip(series, truths, strict=True))


def read_pair(series: Reference, truth: Reference) -> tuple[Tensor, Tensor]:
    """Read both as ``(t, z, y, x)``, with the scaling of the truth."""
    left, right = series.read().array, truth.read().array
    if left.shape != right.shape:
        msg = f"{series.path} has the shape {left.shape}, its truth {right.shape}."
        raise MrgenError(msg)
    scaling = Scaling.fit(right)
    return torch.from_numpy(scaling.apply(left)), torch.from_numpy(scaling.apply(right))


def _random_positions(cine: cines.Cine, spec: ScanSpec, g: torch.Generator) -> Tensor:
    """Return random (fractional) positions of the scanned frames, periodic within a cycle."""
    positions, length = torch.arange(spec.frames).double(), len(cine.frames)
    if not cine.cycle:
        rate = min(1.0, (length - 1) / max(1, spec.frames - 1))
        return positions * rate + uniform(g, 0, length - 1 - float(positions[-1]) * rate)
    if uniform(g, 0, 1) >= spec.retimed_share:
        return (positions + integer(g, 0, cine.cycle - 1)) % cine.cycle
    retiming = cines.random_retiming(g, SHORTEST_CYCLE, LONGEST_CYCLE, RETIMING_STRENGTH)
    start = uniform(g, 0, retiming.cycle)
    return retiming.apply(positions + start, cine.cycle) % cine.cycle


def _random_corner(frames: Tensor, size: int, g: torch.Generator) -> tuple[int, int]:
    y, x = (integer(g, 0, max(0, side - size)) for side in frames.shape[-2:])
    return y, x
