"""What the benchmarks share: the machine, trainings of equal time, tables."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import Family, TrainConfig
from napari_mrgen.engine.fit import fit
from napari_mrgen.engine.run.events import Event, Failed, StageStarted, Started, Stepped

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("MRGEN_DATA", HERE.parents[1] / "shared" / "data"))
RESULTS = HERE / "results"
TRIAL_STEPS = 16


def machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ")[1] for line in lines if "model name" in line), "unknown")


def train(
    family: Family, config: TrainConfig, inputs: Inputs, folder: Path, **choices: Any
) -> dict[str, float]:
    """Train into a folder, or take what is there; return the seconds that each stage took.

    ``choices`` go to `fit`.
    """
    clock = folder / "seconds.json"
    if not clock.exists():
        marks: list[tuple[str, float]] = []
        for event in _until_trained(family, config, inputs, folder, **choices):
            if isinstance(event, Started):
                print(folder.name, "on", event.device, flush=True)
            if isinstance(event, StageStarted):
                marks.append((event.stage, time.monotonic()))
        marks.append(("", time.monotonic()))
        spent = {stage: after - at for (stage, at), (_, after) in pairwise(marks)}
        clock.write_text(json.dumps(spent))
    return dict(json.loads(clock.read_text()))


def paced(
    family: Family,
    config: TrainConfig,
    inputs: Inputs,
    seconds: float,
    lengths: Mapping[str, str],
) -> TrainConfig:
    """Set the lengths of the stages so that together they take this time.

    ``lengths`` names the setting of each stage; the preset's lengths give their shares of the time.
    """
    short = config.with_values({lengths[stage]: TRIAL_STEPS for stage in config.stages})
    each = _seconds_a_step(family, short, inputs)
    steps = {stage: int(getattr(config, lengths[stage])) for stage in config.stages}
    factor = seconds / sum(each[stage] * steps[stage] for stage in config.stages)
    found = {lengths[stage]: max(1, int(factor * steps[stage])) for stage in config.stages}
    print("lengths for the same time:", found, flush=True)
    return config.with_values(found)


def _seconds_a_step(family: Family, short: TrainConfig, inputs: Inputs) -> dict[str, float]:
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for event in _until_trained(family, short, inputs, Path(folder) / "run"):
            if isinstance(event, Stepped):
                found[event.stage] = event.seconds_per_step
    return found


def _until_trained(
    family: Family, config: TrainConfig, inputs: Inputs, folder: Path, **choices: Any
) -> Iterator[Event]:
    """Yield the events of a training, without the scoring at its end."""
    control, last = Control(), folder / f"model-{config.stages[-1]}.safetensors"
    for event in fit(family, config, inputs, folder, control, **choices):
        if isinstance(event, Failed):
            raise SystemExit(f"{folder}: {event.message} {event.details}")
        if last.exists():
            control.stop()
        yield event


def write(name: str, found: Mapping[str, Any], text: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows, the first of them the head, as a Markdown table."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
