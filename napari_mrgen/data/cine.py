"""Cine series as training windows: read lazily, scaled, cropped and augmented.

A window is ``(t, z, y, x)``: context frames, then the frames to predict. Random parameters are
drawn first, from an explicit generator, into a small value, which is then applied.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_mrgen.data.scaling import Scaling
from napari_mrgen.io.find import Reference
from napari_mrgen.mri.noise import rician
from napari_mrgen.volume import Volume, VolumeInfo, mean_interval

HARMONICS = 3


@dataclass(frozen=True)
class Cine:
    """Frames ``(t, z, y, x)`` in memory, scaled to about 0..1, and the cycle in frames."""

    frames: Tensor
    cycle: int
    """Frames in one cardiac cycle; 0 if the series does not cover one."""
    scaling: Scaling


def load(volume: Volume) -> Cine:
    """Scale a ``tzyx`` volume and estimate its cycle."""
    scaling = Scaling.fit(volume.array)
    frames = torch.from_numpy(scaling.apply(volume.array))
    return Cine(frames, find_cycle(frames), scaling)


def find_cycle(frames: Tensor, least: int = 8) -> int:
    """Return the number of frames after which the series repeats, or 0.

    A lag is the cycle if frames that far apart differ less than neighbours do, over half a cycle at
    least. The series may also end just before it repeats: then its last frame continues with its
    first.

    Examples
    --------
    >>> phase = 2 * torch.pi * torch.arange(30) / 12
    >>> find_cycle(phase.sin().view(-1, 1, 1, 1).expand(-1, 1, 8, 8))
    12
    """
    count = len(frames)
    if count < least:
        return 0
    small = functional.avg_pool2d(frames.flatten(0, 1)[:, None], 2, ceil_mode=True)
    small = small.view(count, -1)
    steps = (small[1:] - small[:-1]).square().mean(1)
    lags = range(least, 2 * count // 3 + 1)
    apart = [float((small[lag:] - small[:-lag]).square().mean()) for lag in lags]
    if apart and min(apart) < float(steps.mean()):
        # Two cycles match as well as one: the first lag that is about as good as the best.
        return next(
            lag for lag, error in zip(lags, apart, strict=True) if error <= 1.1 * min(apart)
        )
    wrap = (small[-1] - small[0]).square().mean()
    return count if wrap <= 1.5 * steps.max() else 0


def fit_patch(
    frames: Tensor, size: tuple[int, int], corner: tuple[int, int] | None = None
) -> Tensor:
    """Crop ``(..., y, x)`` to ``size``, from ``corner`` or the centre, or pad it by replication.

    Examples
    --------
    >>> fit_patch(torch.arange(4.0).view(1, 4), (1, 2)).tolist()
    [[1.0, 2.0]]
    >>> fit_patch(torch.arange(2.0).view(1, 2), (1, 4)).tolist()
    [[0.0, 0.0, 1.0, 1.0]]
    """
    for axis, length in zip((-2, -1), size, strict=True):
        present = frames.shape[axis]
        if present > length:
            start = (present - length) // 2 if corner is None else corner[axis]
            frames = frames.narrow(axis, start, length)
        elif present < length:
            before = (length - present) // 2
            index = torch.arange(-before, length - before).clamp(0, present - 1)
            frames = frames.index_select(axis, index.to(frames.device))
    return frames


# ---- augmentation --------------------------------------------------------------------------------


@dataclass(frozen=True)
class TemporalAugmentation:
    """Temporal augmentation: another frame rate and another motion curve over the cycle.

    Phase ``u`` of the new cycle shows phase ``u + sum_k a_k sin(2 pi k u + p_k) / (2 pi k)`` of the
    old one, which is monotone while the ``|a_k|`` sum to less than one.
    """

    cycle: int
    amplitudes: tuple[float, ...]
    phases: tuple[float, ...]

    def apply(self, positions: Tensor, cycle: int) -> Tensor:
        """Map positions in new frames to (fractional) positions in frames of the old cycle."""
        u = positions.double() / self.cycle
        warped = u.clone()
        for k, (a, p) in enumerate(zip(self.amplitudes, self.phases, strict=True), start=1):
            warped += a * torch.sin(2 * math.pi * k * u + p) / (2 * math.pi * k)
        return warped * cycle


def random_retiming(
    g: torch.Generator, shortest: int, longest: int, strength: float
) -> TemporalAugmentation:
    """Sample a temporal augmentation with a cycle of ``shortest..longest`` frames."""
    raw = [uniform(g, -1, 1) for _ in range(HARMONICS)]
    total = uniform(g, 0, strength) / max(sum(map(abs, raw)), 1e-6)
    phases = tuple(uniform(g, 0, 2 * math.pi) for _ in range(HARMONICS))
    return TemporalAugmentation(
        integer(g, shortest, longest), tuple(a * total for a in raw), phases
    )


@dataclass(frozen=True)
class SpatialAugmentation:
    """Spatial and intensity augmentation, the same for all frames and slices of a window."""

    flip_x: bool
    flip_y: bool
    transpose: bool
    affine: tuple[float, float, float, float] | None
    """Angle (rad), zoom, shift x and y (in half widths)."""
    gamma: float
    gain: float

    def apply(self, frames: Tensor) -> Tensor:
        frames = frames.flip(-1) if self.flip_x else frames
        frames = frames.flip(-2) if self.flip_y else frames
        frames = frames.transpose(-1, -2) if self.transpose else frames
        if self.affine is not None:
            angle, zoom, x, y = self.affine
            c, s = math.cos(angle) * zoom, math.sin(angle) * zoom
            theta, size = torch.tensor([[[c, -s, x], [s, c, y]]]), frames.shape[-2:]
            grid = functional.affine_grid(theta, [1, 1, *size], align_corners=False)
            frames = functional.grid_sample(
                frames.reshape(1, -1, *size), grid, padding_mode="reflection", align_corners=False
            ).view_as(frames)
        if self.gamma != 1:
            frames = frames.clamp(min=0).pow(self.gamma)
        return frames * self.gain


def random_spatial_augmentation(g: torch.Generator) -> SpatialAugmentation:
    """Sample a spatial augmentation: mirrored half of the time, rotated a quarter of the time."""
    flip_x, flip_y, transpose, has_gamma, has_gain = (uniform(g, 0, 1) < 0.5 for _ in range(5))
    is_transformed = uniform(g, 0, 1) < 0.25
    shift = 0.15
    affine = (
        uniform(g, -0.5, 0.5),
        uniform(g, 0.8, 1.25),
        uniform(g, -shift, shift),
        uniform(g, -shift, shift),
    )
    gamma, gain = math.exp(uniform(g, -0.3, 0.3)), uniform(g, 0.7, 1.1)
    return SpatialAugmentation(
        flip_x, flip_y, transpose, affine if is_transformed else None,
        gamma if has_gamma else 1.0, gain if has_gain else 1.0,
    )  # fmt: skip


def uniform(g: torch.Generator, low: float, high: float) -> float:
    """Return a random number between ``low`` and ``high``."""
    return low + (high - low) * float(torch.rand((), generator=g, dtype=torch.float64))


def integer(g: torch.Generator, low: int, high: int) -> int:
    """Return a random integer of ``low..high``, both included."""
    return int(torch.randint(low, high + 1, (), generator=g))


# ---- windows ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WindowSpec:
    """Size and augmentation of windows."""

    context: int
    future: int
    slices: int
    patch: int
    retimed_share: float = 0.4
    """Share of windows with temporal augmentation."""
    retime_strength: float = 0.5
    shortest_cycle: int = 12
    longest_cycle: int = 34
    cycle_dropout: float = 0.25
    """Share of windows without the cycle length."""
    delayed_share: float = 0.5
    """Share of windows whose first predicted frame is later than the next one."""
    noise: float = 0.03
    """Greatest standard deviation of noise added to half of the contexts."""
    augment: bool = True
    """Whether windows get spatial and intensity augmentation and noise, too."""


@dataclass(frozen=True)
class Timing:
    """Positions of a window's frames in its series, and the timing inputs of the network."""

    positions: Tensor
    lead: int
    cycle: int
    """Cycle as an input of the network; 0 is unknown."""


def random_timing(cine: Cine, spec: WindowSpec, g: torch.Generator) -> Timing:
    """Sample the start of a window, its motion curve, and its delay."""
    if not cine.cycle:
        return _random_open_timing(cine, spec, g)
    cycle, retiming = cine.cycle, None
    if uniform(g, 0, 1) < spec.retimed_share:
        retiming = random_retiming(g, spec.shortest_cycle, spec.longest_cycle, spec.retime_strength)
        cycle = retiming.cycle
    start = uniform(g, 0, cycle) if retiming else integer(g, 0, cycle - 1)
    is_dropped = uniform(g, 0, 1) < spec.cycle_dropout
    room = max(0, cycle - spec.context - spec.future)
    room = min(room, 6) if is_dropped else room
    is_delayed = uniform(g, 0, 1) < spec.delayed_share
    lead = integer(g, 1, room) if is_delayed and room > 0 else 0
    positions = start + _offsets(spec, lead).double()
    if retiming:
        positions = retiming.apply(positions, cine.cycle)
    return Timing(positions % cine.cycle, lead, 0 if is_dropped else cycle)


def _random_open_timing(cine: Cine, spec: WindowSpec, g: torch.Generator) -> Timing:
    """Sample a window inside a series without a cycle, at a slower or faster rate."""
    offsets = _offsets(spec, 0)
    fastest = (len(cine.frames) - 1) / int(offsets[-1])
    rate = min(fastest, uniform(g, 0.5, 1.5) if uniform(g, 0, 1) < spec.retimed_share else 1.0)
    positions = offsets.double() * rate
    start = uniform(g, 0, len(cine.frames) - 1 - float(positions[-1]))
    start = float(int(start)) if rate == 1.0 else start
    return Timing(positions + start, 0, 0)


def _offsets(spec: WindowSpec, lead: int) -> Tensor:
    future = torch.arange(spec.future) + spec.context + lead
    return torch.cat([torch.arange(spec.context), future])


def frames_at(cine: Cine, positions: Tensor, z: slice) -> Tensor:
    """Return frames at fractional positions, interpolated linearly (periodically in a cycle)."""
    before = positions.floor().long()
    weight = (positions - before).float().view(-1, 1, 1, 1)
    count = cine.cycle or len(cine.frames)
    after = (before + 1) % count if cine.cycle else (before + 1).clamp(max=count - 1)
    # Slicing first keeps the copy small.
    frames = cine.frames[:, z]
    if not weight.any():
        return frames[before % count]
    return torch.lerp(frames[before % count], frames[after], weight)


class CineStore:
    """Series, read when first needed and cached within a limit."""

    def __init__(self, references: Sequence[Reference], cache_bytes: int = 2 << 30) -> None:
        self.references = tuple(references)
        self._cache_bytes = cache_bytes
        self._cached: OrderedDict[int, Cine] = OrderedDict()

    def __len__(self) -> int:
        return len(self.references)

    def __getitem__(self, index: int) -> Cine:
        if index not in self._cached:
            self._cached[index] = load(self.references[index].read())
            while len(self._cached) > 1 and self._bytes() > self._cache_bytes:
                self._cached.popitem(last=False)
        self._cached.move_to_end(index)
        return self._cached[index]

    def _bytes(self) -> int:
        return sum(cine.frames.nbytes for cine in self._cached.values())


class CineWindows:
    """The training windows of a set of cines and fixed windows of the held-out ones.

    A sample holds ``frames`` (t, z, y, x), ``lead`` (frames between the context and the first frame
    to predict, less one) and ``cycle`` (frames in a cardiac cycle; 0 is unknown).
    """

    windows_per_series = 16

    def __init__(
        self,
        train: Sequence[Reference],
        test: Sequence[Reference],
        spec: WindowSpec,
        held_out_series: int = 4,
    ) -> None:
        self.train, self.test, self.spec = CineStore(train), CineStore(test), spec
        self._held_out_series = min(held_out_series, len(test))

    def __len__(self) -> int:
        return len(self.train) * self.windows_per_series

    def sample(self, index: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        spec, g = self.spec, generator
        cine = self.train[index % len(self.train)]
        timing = random_timing(cine, spec, g)
        z = integer(g, 0, max(0, cine.frames.shape[1] - spec.slices))
        frames = frames_at(cine, timing.positions, slice(z, z + spec.slices))
        corner = tuple(integer(g, 0, max(0, n - spec.patch)) for n in frames.shape[-2:])
        frames = fit_patch(frames, (spec.patch, spec.patch), (corner[0], corner[1]))
        if spec.augment:
            frames = random_spatial_augmentation(g).apply(frames)
            sigma = max(0.0, uniform(g, -spec.noise, spec.noise))
            noisy = rician(frames[: spec.context], sigma, g)
            frames = torch.cat([noisy, frames[spec.context :]])
        return self._sample(frames, timing)

    def held_out(self) -> Iterator[Mapping[str, Tensor]]:
        """Yield one central window of a few series, without augmentation, as batches of one."""
        for index in range(self._held_out_series):
            yield {name: value[None] for name, value in self.held_out_window(index).items()}

    def held_out_window(self, index: int) -> Mapping[str, Tensor]:
        cine, spec = self.test[index], self.spec
        count = cine.cycle or len(cine.frames)
        start: float = index * count // 4
        offsets = _offsets(spec, 0).double()
        if cine.cycle:
            positions = (offsets + start) % count
        else:
            # Shifted to end within the series, and slowed down in a short one.
            positions = offsets * min(1.0, (count - 1) / float(offsets[-1]))
            start = min(start, count - 1 - float(positions[-1]))
            positions = (positions + start).clamp(0, count - 1)
        middle = max(0, (cine.frames.shape[1] - spec.slices) // 2)
        frames = frames_at(cine, positions, slice(middle, middle + spec.slices))
        frames = fit_patch(frames, (spec.patch, spec.patch))
        return self._sample(frames, Timing(positions, 0, cine.cycle))

    def describe(self) -> Mapping[str, Any]:
        first = self._first
        return {
            "scaling": {"method": "percentile", "percentile": 99.5, "per": "series"},
            "axes": "tzyx",
            "shape": [self.spec.context, self.spec.slices, self.spec.patch, self.spec.patch],
            "spacing_mm": list(first.spacing),
            "frame_interval_s": mean_interval(first.times),
        }

    @cached_property
    def _first(self) -> VolumeInfo:
        """The first training series, read once, since every checkpoint needs it."""
        return self.train.references[0].info()

    def _sample(self, frames: Tensor, timing: Timing) -> Mapping[str, Tensor]:
        """Return a sample; the outer slices of a series that has too few are replicated."""
        missing = self.spec.slices - frames.shape[1]
        if missing > 0:
            index = torch.arange(-(missing // 2), frames.shape[1] + missing - missing // 2)
            frames = frames[:, index.clamp(0, frames.shape[1] - 1)]
        return {
            "frames": frames.contiguous(),
            "lead": torch.tensor(float(timing.lead)),
            "cycle": torch.tensor(float(timing.cycle)),
        }


def as_array(frames: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return frames of any device and precision as a NumPy array."""
    return frames.detach().float().cpu().numpy()
