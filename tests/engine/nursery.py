"""Trains the toy in a new process for every line that it reads.

It has torch imported once and forks, so that a test can start fifty processes. Each line is a JSON
object; the answers are the process id, and the exit status when that process has ended.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit, resume
from napari_mrgen.engine.run.events import Failed
from napari_mrgen.engine.run.folder import holds_run
from tests.engine import toy


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_train(**order))
        _answer(pid)
        _answer(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _train(
    run_dir: str,
    config: dict[str, Any],
    stop_at: list[Any] | None = None,
    file_limit: int | None = None,
    memory_left: int | None = None,
) -> int:
    """Start or resume the run; stop at a place (stage, step).

    No file may exceed ``file_limit``; the process may take ``memory_left`` bytes more.
    """
    control, folder = Control(), Path(run_dir)
    threading.Thread(target=_draw_for_ever, daemon=True).start()
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    if memory_left is not None:
        allowed = psutil.Process().memory_info().vms + memory_left
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    if stop_at is not None:
        place = tuple(stop_at)
        toy.on_step = lambda *here: control.stop() if here == place else None
    if holds_run(folder):
        events = resume(folder, toy.lookup, control)
    else:
        inputs = toy.inputs(folder.parent / "inputs")
        settings = toy.ToyConfig(**config)
        events = fit(toy.FAMILY, settings, inputs, folder, control, precision="32-true")
    last = list(events)[-1]
    if isinstance(last, Failed):
        with suppress(OSError):
            (folder.parent / "failure.txt").write_text(f"{last.message} {last.advice}")
    return int(isinstance(last, Failed))


def _draw_for_ever() -> None:
    """Disturb every global random generator."""
    while True:
        torch.rand(3)
        np.random.random()
        random.random()


def _answer(value: int) -> None:
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
