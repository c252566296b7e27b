"""Processes that train, and hashes of what they leave."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Count with as many threads as the trainings that are started: sums depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Nursery:
    """Starts trainings, each in a process of its own; see `tests.engine.nursery`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.engine.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
        )

    def start(self, run_dir: Path, config: Mapping[str, Any], **more: Any) -> int:
        """Start or resume a run; return the process id."""
        assert self._process.stdin is not None
        order = {"run_dir": str(run_dir), "config": dict(config), **more}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._read()

    def wait(self) -> int:
        """Return the exit status of the process last started; minus a signal's number."""
        return self._read()

    def run(self, run_dir: Path, config: Mapping[str, Any], **more: Any) -> int:
        self.start(run_dir, config, **more)
        return self.wait()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


def digest(value: Any) -> str:
    """Hash a training state: every tensor's bits, and every plain value."""
    found = hashlib.sha256()
    _feed(found, value)
    return found.hexdigest()


def digest_state(path: Path) -> str:
    content = torch.load(path, weights_only=True)
    del content["metrics"]  # Those of the last evaluation, which runs may have at other steps.
    return digest(content)


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        found.update(f"{value.dtype}{tuple(value.shape)}".encode())
        found.update(value.contiguous().numpy().tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            found.update(str(key).encode())
            _feed(found, value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            _feed(found, item)
    else:
        found.update(repr(value).encode())
