"""Killed at any moment: the run goes on from a whole checkpoint and ends the same."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit
from napari_mrgen.engine.run.events import Finished, StageStarted, Stepped
from napari_mrgen.engine.run.folder import Run, watch
from napari_mrgen.engine.run.state import saved_states
from tests.engine import toy
from tests.engine.conftest import Nursery, digest_state

KILLS, KILLS_WHILE_SAVING = 50, 15
CONFIG = {"steps": 60, "save_every": 12, "preview_every": 30, "ballast": 1_000_000}


def test_fifty_kills_lose_at_most_one_save_interval(nursery: Nursery, tmp_path: Path) -> None:
    draws = random.Random(0)
    expected = uninterrupted(tmp_path)
    kills, saving, number = 0, 0, 0
    while kills < KILLS or saving < 10:
        run_dir = tmp_path / f"run {number}"
        pid = nursery.start(run_dir, CONFIG)
        aims_at_save = kills % (KILLS // KILLS_WHILE_SAVING) == 0
        hit = strike_save(run_dir, pid) if aims_at_save else strike(draws.uniform(0, 0.8), pid)
        if nursery.wait() == 0:
            assert digest_state(saved_states(run_dir / "checkpoints")[0].path) == expected
            number += 1
        else:
            kills += 1
            saving += aims_at_save and hit
            check_run_folder(run_dir)
    assert nursery.run(run_dir, CONFIG) == 0
    assert digest_state(saved_states(run_dir / "checkpoints")[0].path) == expected


def uninterrupted(folder: Path) -> str:
    config = toy.ToyConfig(**CONFIG)
    inputs = toy.inputs(folder / "inputs")
    events = fit(toy.FAMILY, config, inputs, folder / "whole", Control(), precision="32-true")
    assert isinstance(list(events)[-1], Finished)
    return digest_state(saved_states(folder / "whole" / "checkpoints")[0].path)


def strike(delay: float, pid: int) -> bool:
    time.sleep(delay)
    kill(pid)
    return True


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # It may have come to its end before.
        os.kill(pid, signal.SIGKILL)


def strike_save(run_dir: Path, pid: int) -> bool:
    """Kill when half of a checkpoint is written; return whether that was seen."""
    while is_alive(pid):
        for draft in run_dir.glob("checkpoints/.*.part.*"):
            kill(pid)
            return draft.exists()
        time.sleep(0.0005)
    return False


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def check_run_folder(run_dir: Path) -> None:
    """What another process sees: an interrupted run, and how little of it is lost."""
    if not (run_dir / "events.jsonl").exists():
        return
    run = Run(run_dir)
    if run.status == "finished":
        return
    assert run.status == "interrupted"
    assert "interrupted" in list(watch(run_dir))[-1].message  # type: ignore[attr-defined]
    started = [e for e in run.history if isinstance(e, StageStarted)]
    stepped = [e for e in run.history if isinstance(e, Stepped) and e.stage == started[-1].stage]
    states = [s for s in saved_states(run_dir / "checkpoints") if s.stage == started[-1].stage]
    reached = stepped[-1].step if stepped else 0
    assert reached - (states[0].step if states else 0) <= CONFIG["save_every"]
