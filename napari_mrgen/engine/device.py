"""Devices: which there are, which to take, the fastest precision, and freed memory."""

from __future__ import annotations

import ctypes
import gc
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from torch import nn

from napari_mrgen.errors import MrgenError

Precision = Literal["32-true", "bf16-mixed"]
PRECISIONS: tuple[Precision, ...] = ("32-true", "bf16-mixed")


@dataclass(frozen=True)
class Device:
    """A device that can train, with its memory in bytes now."""

    name: str
    title: str
    free_bytes: int
    total_bytes: int


def devices() -> tuple[Device, ...]:
    """List the CPU, which is always there, and the GPUs."""
    memory = psutil.virtual_memory()
    limits = [(memory.available, memory.total), *_limits()]
    free, total = (min(sizes) for sizes in zip(*limits, strict=True))
    available = [Device("cpu", "CPU", max(0, free), total)]
    # A CUDA build without a GPU counts none.
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        available.append(Device(f"cuda:{index}", torch.cuda.get_device_name(index), free, total))
    return tuple(available)


def _limits() -> Iterator[tuple[int, int]]:
    """Yield what limits leave to this process, and what they allow: (free, total) in bytes."""
    if sys.platform == "win32":
        return
    import resource

    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    if allowed != resource.RLIM_INFINITY:
        yield allowed - psutil.Process().memory_info().vms, allowed
    for group in _control_groups():
        try:
            allowed = int((group / "memory.max").read_text())
            used = int((group / "memory.current").read_text())
            reclaimable = _statistic(group / "memory.stat", "inactive_file")
        except (OSError, ValueError):  # Not there, or without a limit.
            continue
        yield allowed - used + reclaimable, allowed


def _control_groups(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[Path]:
    """Yield this process's control group and those above: each may have less than the machine.

    They are how containers and the jobs of a cluster are limited on Linux.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    place = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    group = root / place
    yield group
    yield from (above for above in group.parents if above.is_relative_to(root))


def _statistic(path: Path, name: str) -> int:
    """Return a value of a file of lines ``name value``; 0 without one."""
    pairs = (line.split() for line in path.read_text().splitlines())
    return next((int(value) for key, value in pairs if key == name), 0)


def device_info(device: torch.device) -> Device:
    name = str(device)
    return next(info for info in devices() if info.name == name)


def device_of(network: nn.Module) -> torch.device:
    """Return where a network's weights are."""
    return next(network.parameters()).device


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of that name; ``auto`` is the GPU with the most free memory, or the CPU."""
    available = devices()
    if name == "auto":
        best = max(available[1:], key=lambda device: device.free_bytes, default=available[0])
        return torch.device(best.name)
    full_name = "cuda:0" if name == "cuda" else name
    names = [device.name for device in available]
    if full_name not in names:
        msg = f"There is no device {name!r} here; expected auto or one of: {', '.join(names)}."
        raise MrgenError(msg)
    return torch.device(full_name)


def choose_precision(name: str, device: torch.device) -> Precision:
    """Return the precision of that name; ``auto`` takes bfloat16 where it is faster."""
    if name == "auto":
        return "bf16-mixed" if _is_bf16_faster(device) else "32-true"
    for precision in PRECISIONS:
        if name == precision:
            return precision
    msg = f"Expected precision auto, {' or '.join(PRECISIONS)}, got {name!r}."
    raise MrgenError(msg)


@cache
def _is_bf16_faster(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Versions of torch say in different ways what a CPU can do, so it is timed: once, so that equal
    # settings give equal results within a process. The two types take turns, as another program
    # may come between, and the first runs are slow.
    best = {torch.bfloat16: math.inf, torch.float32: math.inf}
    for _ in range(8):
        best = {dtype: min(before, _time_convolution(dtype)) for dtype, before in best.items()}
    return best[torch.bfloat16] < 0.8 * best[torch.float32]


@torch.no_grad()
def _time_convolution(dtype: torch.dtype) -> float:
    """Best of some runs, in s, of a small convolution as networks here have them."""
    image = torch.ones(2, 32, 64, 64, dtype=dtype).to(memory_format=torch.channels_last)
    kernel = torch.ones(32, 32, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        torch.nn.functional.conv2d(image, kernel, padding=1)
        times.append(time.perf_counter() - start)
    return min(times)


_M_MMAP_THRESHOLD = -3
_LEAST, _MOST = 1 << 20, 32 << 20
_BLOCKS = 4096
"""Blocks below the threshold that may lie in the heap before it fills the free memory."""


def set_malloc_threshold(free_bytes: int) -> None:
    """Let freed blocks go back to the system, also smaller ones where little memory is free.

    Notes
    -----
    On a CPU every tensor is a block of the C library's malloc. glibc maps a block of
    ``M_MMAP_THRESHOLD`` bytes or more by itself and gives it back when it is freed. Smaller ones
    lie in the heap, whose gaps stay with the process. The threshold starts at 128 KiB and rises
    with every mapped block that is freed, to 32 MiB at most. A tensor begins at a multiple of
    64 bytes, so what is left over before and behind it is soon taken by small objects, and the gap
    that a tensor leaves is too short for the next one of its size: trainings with blocks of 2 to
    32 MiB were measured to hold 1.1 to 2.1 times the bytes of their tensors.

    A threshold that is set stays. With 1 MiB a training holds its tensors and no more, within 3 %,
    but each new block costs page faults, which makes small networks up to a third slower. So the
    less memory there is, the lower the threshold.
    """
    if (malloc := _glibc()) is not None:
        malloc.mallopt(_M_MMAP_THRESHOLD, min(max(free_bytes // _BLOCKS, _LEAST), _MOST))


def release_memory() -> None:
    """Give memory that is no longer used back to the system, as far as it goes."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if (malloc := _glibc()) is not None:
        malloc.malloc_trim(0)


def _glibc() -> Any:
    """Return the C library where it is glibc, else None."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None
