"""Every exception becomes a sentence and an advice."""

from __future__ import annotations

import errno

import pytest
import torch

from napari_mrgen.engine.failures import NotANumberError, explain
from napari_mrgen.errors import MrgenError
from tests.engine import toy

CUDA = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 8.00 GiB of "
    "which 1.00 GiB is free."
)
CPU = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000000 bytes."


@pytest.mark.parametrize(
    ("error", "message", "advice"),
    [
        (MrgenError("Choose another folder."), "Choose another folder.", ""),
        (torch.OutOfMemoryError(CUDA), "2.5 GiB more was needed", "Set batch_size to 4 (it is 8)"),
        (RuntimeError(CPU), "3.64 TiB more was needed", "batch_size to 4"),
        (RuntimeError("could not create a primitive"), "memory of CPU is full", "batch_size to 4"),
        (MemoryError(), "memory of CPU is full, ", "batch_size to 4"),
        (OSError(errno.ENOSPC, "No space left", "a.pt"), "disk is full", "last checkpoint"),
        (PermissionError(errno.EACCES, "Permission denied", "b"), "b: Permission denied", "resume"),
        (NotANumberError("No number."), "No number.", "learning rate"),
        (RuntimeError("Connection closed by peer [127.0.0.1]"), "Another process", "cause"),
        (ValueError("odd\nmore"), "Training failed: odd", "report"),
        (KeyError(), "Training failed: KeyError", "report"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_sentence(error: Exception, message: str, advice: str) -> None:
    failed = explain(error, toy.ToyConfig(batch_size=8), torch.device("cpu"))
    assert message in failed.message
    assert advice in failed.advice
    assert type(error).__name__ in failed.details


def test_a_full_disk_is_found_behind_what_it_caused() -> None:
    error = RuntimeError("unexpected position")
    error.__context__ = OSError(errno.ENOSPC, "No space left on device")
    assert "disk is full" in explain(error).message


def test_the_smallest_batch_cannot_be_halved() -> None:
    failed = explain(MemoryError(), toy.ToyConfig(batch_size=1))
    assert "smaller preset" in failed.advice


def test_real_exhaustion_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert "TiB more was needed" in explain(caught.value).message
