"""The training state: what a stopped or killed run goes on from."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from napari_mrgen.engine.job import Trainee
from napari_mrgen.engine.patience import Standing
from napari_mrgen.io.files import replacing

_KEPT = 2
_FORMAT = 1
_NAME = re.compile(r"(?P<index>\d+)-(?P<stage>.+)-(?P<step>\d{8,})\.pt")


@dataclass(frozen=True)
class Saved:
    """A training state on disk."""

    path: Path
    index: int
    """Of the stage, counted from 0."""
    stage: str
    step: int


def saved_states(folder: Path) -> list[Saved]:
    """List the training states, the newest first."""
    found = ((path, _NAME.fullmatch(path.name)) for path in folder.glob("*.pt"))
    states = [Saved(path, int(m["index"]), m["stage"], int(m["step"])) for path, m in found if m]
    return sorted(states, key=lambda state: (state.index, state.step), reverse=True)


def save_state(folder: Path, trainee: Trainee) -> Path:
    """Write networks, optimizers, average and standing; keep the last states only."""
    stage, task = trainee.stage, trainee.stage.task
    averaged = trainee.average.networks
    state = {
        "format": _FORMAT,
        "networks": {name: network.state_dict() for name, network in task.networks.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in task.optimizers.items()},
        "average": {name: network.state_dict() for name, network in averaged.items()},
        "standing": asdict(trainee.standing),
    }
    path = folder / f"{trainee.index}-{stage.name}-{trainee.step:08d}.pt"
    with replacing(path) as file:
        torch.save(state, file)
    for old in saved_states(folder)[_KEPT:]:
        old.path.unlink(missing_ok=True)
    return path


def load_state(folder: Path, trainee: Trainee) -> tuple[int | None, list[str]]:
    """Load the newest whole state of a stage; return its step, and the names of damaged files.

    Without one the step is None and nothing is changed.
    """
    damaged = []
    task = trainee.stage.task
    for saved in saved_states(folder):
        if saved.stage != trainee.stage.name:
            continue
        state = _read(saved.path)
        if state is None:
            damaged.append(saved.path.name)
            continue
        for name, values in _entries(state, "networks"):
            task.networks[name].load_state_dict(values)
        for name, values in _entries(state, "optimizers"):
            task.optimizers[name].load_state_dict(values)
        for name, values in _entries(state, "average"):
            trainee.average.networks[name].load_state_dict(values)
        # A run that an earlier version began has none.
        trainee.standing = Standing(**state.get("standing", {}))
        return saved.step, damaged
    return None, damaged


def _read(path: Path) -> dict[str, Any] | None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        return None
    return state if isinstance(state, dict) and state.get("format") == _FORMAT else None


def _entries(state: dict[str, Any], part: str) -> Iterator[tuple[str, Any]]:
    yield from state[part].items()
