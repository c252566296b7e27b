"""How malloc keeps the tensors of a training: what glibc does with freed blocks.

On a CPU every tensor is a block of the C library's malloc. glibc maps a block of `M_MMAP_THRESHOLD`
bytes or more by itself and gives it back when it is freed. Smaller ones lie in the heap, whose gaps
stay with the process. The threshold starts at 128 KiB and rises with every mapped block that is
freed, to 32 MiB at most. Since a tensor begins at a multiple of 64 bytes, what is left over before
and behind it is soon taken by small objects, and a gap that a tensor leaves is then too short for
the next one of its size: trainings with blocks of 2 to 32 MiB were measured to hold 1.1 to 2.1
times the bytes of their tensors, and no rule was found that tells how many.

A threshold that is set stays. With 1 MiB a training holds its tensors and no more, within 3 %; but
each new block costs page faults, which makes small networks up to a third slower. So the less
memory there is, the lower the threshold.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

import torch

_M_MMAP_THRESHOLD = -3
_LEAST, _MOST = 1 << 20, 32 << 20
_BLOCKS = 4096
"""Blocks below the threshold that may lie in the heap before it fills the free memory."""


def set_threshold(free_bytes: int) -> None:
    """Let freed blocks go back to the system, also smaller ones where little memory is free."""
    if (malloc := _glibc()) is not None:
        malloc.mallopt(_M_MMAP_THRESHOLD, min(max(free_bytes // _BLOCKS, _LEAST), _MOST))


def give_back() -> None:
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
