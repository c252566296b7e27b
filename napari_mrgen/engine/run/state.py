"""The training state: what a stopped or killed run goes on from."""

from __future__ import annotations

import pickle
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from napari_mrgen.engine.context import StageState
from napari_mrgen.engine.task import EarlyStoppingState
from napari_mrgen.io.files import replacing

_KEPT = 2
_FORMAT = 1
_NAME = re.compile(r"(?P<index>\d+)-(?P<stage>.+)-(?P<step>\d{8,})\.pt")


@dataclass(frozen=True)
class Saved:
    """A training state on disk."""

    path: Path
    index: int
    """Index of the stage, counted from 0."""
    stage: str
    step: int


def saved_states(folder: Path) -> list[Saved]:
    """List the training states, the newest first."""
    names = ((path, _NAME.fullmatch(path.name)) for path in folder.glob("*.pt"))
    states = [Saved(path, int(m["index"]), m["stage"], int(m["step"])) for path, m in names if m]
    return sorted(states, key=lambda state: (state.index, state.step), reverse=True)


def save_state(folder: Path, state: StageState) -> Path:
    """Write networks, optimizers, average, metrics; keep the last files only."""
    stage, task = state.stage, state.stage.task
    averaged = state.average.networks
    content = {
        "format": _FORMAT,
        "networks": {name: network.state_dict() for name, network in task.networks.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in task.optimizers.items()},
        "average": {name: network.state_dict() for name, network in averaged.items()},
        "early_stopping": asdict(state.early_stopping),
        "metrics": dict(state.metrics),
    }
    path = folder / f"{state.index}-{stage.name}-{state.step:08d}.pt"
    with replacing(path) as file:
        torch.save(content, file)
    for old in saved_states(folder)[_KEPT:]:
        old.path.unlink(missing_ok=True)
    return path


def load_state(folder: Path, state: StageState) -> tuple[int | None, list[str]]:
    """Load the newest whole file of a stage; return its step, and the names of damaged files.

    Without one the step is None and nothing is changed.
    """
    damaged = []
    task = state.stage.task
    for saved in saved_states(folder):
        if saved.stage != state.stage.name:
            continue
        content = _read(saved.path)
        if content is None:
            damaged.append(saved.path.name)
            continue
        for name, values in _with_current_names(content["networks"], task.networks):
            network = task.networks[name]
            network.load_state_dict(dict(_with_current_names(values, network.state_dict())))
        for name, values in _with_current_names(content["optimizers"], task.optimizers):
            task.optimizers[name].load_state_dict(values)
        for name, values in content["average"].items():
            state.average.networks[name].load_state_dict(values)
        # Earlier versions wrote it as "standing", or not at all.
        stopping = content.get("early_stopping", content.get("standing", {}))
        state.early_stopping = EarlyStoppingState(**stopping)
        state.metrics = content.get("metrics", {})
        return saved.step, damaged
    return None, damaged


def _with_current_names(
    saved: Mapping[str, Any], current: Collection[str]
) -> Iterator[tuple[str, Any]]:
    """Yield what was saved under its name of today: names have changed, their order has not."""
    names = saved if saved.keys() <= set(current) else current
    yield from zip(names, saved.values(), strict=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        return None
    return content if isinstance(content, dict) and content.get("format") == _FORMAT else None
