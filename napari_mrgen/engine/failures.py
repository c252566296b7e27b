"""What an exception means to the person who waits for the run."""

from __future__ import annotations

import errno
import re
import traceback

import torch

from napari_mrgen.engine.device import device_info
from napari_mrgen.engine.family import TrainConfig
from napari_mrgen.engine.run.events import Failed
from napari_mrgen.errors import MrgenError
from napari_mrgen.wording import format_size

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_REQUEST = re.compile(r"(?:Tried|tried) to allocate ([\d.]+) ?(B|[KMGT]iB|bytes)")
_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "could not create a primitive",
)
"""How GPUs, torch's own memory on a CPU, the system, C++ and oneDNN say that memory ran out."""
_PEER_LOST = (
    "closed by peer",
    "Connection reset",
    "process group has been destroyed",
    "Broken pipe",
)
"""How the collectives of several processes say that one is missing."""


class NotANumberError(Exception):
    """A loss became infinite or undefined."""


def explain(
    error: Exception, config: TrainConfig | None = None, device: torch.device | None = None
) -> Failed:
    """Say what happened in one sentence, and what to do about it."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, MrgenError):
        return Failed(str(error), details=details)
    if isinstance(error, NotANumberError):
        return Failed(str(error), "Lower the learning rate, or preview the data.", details)
    if is_out_of_memory(error):
        return Failed(_memory_sentence(error, device), _smaller(config), details)
    if (full := _disk_error(error)) is not None:
        place = f" ({full.filename})" if full.filename else ""
        message = f"The disk is full, or the file too large for it{place}."
        return Failed(message, "Make room, then resume: the last checkpoint is whole.", details)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        message = f"A file could not be read or written: {where}{error.strerror or error}."
        return Failed(message, "Correct that, then resume the run.", details)
    if any(sign in str(error) for sign in _PEER_LOST):
        message = "Another process of this run ended before its time."
        return Failed(message, "What that process says is the cause.", details)
    text = str(error).strip().splitlines()
    message = f"Training failed: {text[0] if text else type(error).__name__}"
    return Failed(
        message, "Resume the run; if it fails again, report it with these details.", details
    )


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(sign in text for sign in _OUT_OF_MEMORY)


def _memory_sentence(error: BaseException, device: torch.device | None) -> str:
    request = _REQUEST.search(str(error))
    needed = ""
    if request is not None:
        needed = f": {format_size(float(request[1]) * _UNITS.get(request[2], 1))} more was needed"
    info = device_info(device or torch.device("cpu"))
    free, total = format_size(info.free_bytes), format_size(info.total_bytes)
    return f"The memory of {info.title} is full{needed}, {free} of {total} is free now."


def _smaller(config: TrainConfig | None) -> str:
    if config is not None and config.batch_size > 1:
        half = config.batch_size // 2
        return f"Set batch_size to {half} (it is {config.batch_size}), or take another device."
    return "Choose a smaller preset or crop, or another device."


def _disk_error(error: BaseException | None) -> OSError | None:
    """Find the full disk behind an error: torch.save wraps it in a RuntimeError of its own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK:
            return error
        error = error.__cause__ or error.__context__
    return None
