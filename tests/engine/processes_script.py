"""Run by torchrun in two processes: trains, stops, resumes and fails, and notes what it saw."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from napari_mrgen.engine import loop
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.distributed import ProcessGroup
from napari_mrgen.engine.fit import fit, resume
from napari_mrgen.engine.run.events import Event, Failed
from tests.engine import toy
from tests.engine.conftest import digest

STEPS = 8


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    trained: dict[str, str] = {}
    inputs = toy.inputs(folder / "inputs")
    note: dict[str, Any] = {}

    def start(name: str, control: Control, **changes: Any) -> Event:
        config = toy.ToyConfig(steps=STEPS, **changes)
        events = fit(toy.FAMILY, config, inputs, folder / name, control, precision="32-true")
        return list(events)[-1]

    remember_weights(trained)
    note["whole"] = type(start("whole", Control())).__name__
    note["whole_weights"] = dict(trained)

    control = Control()
    if rank() == 1:  # Only one of the two is asked to stop.
        toy.on_step = lambda stage, step: control.stop() if (stage, step) == ("first", 4) else None
    note["stopped"] = repr(start("parts", control))
    toy.on_step = lambda stage, step: None
    last = list(resume(folder / "parts", toy.lookup, Control()))[-1]
    note["resumed"], note["resumed_weights"] = type(last).__name__, dict(trained)

    part = torch.tensor([[float(rank())]])
    sums = ProcessGroup(torch.device("cpu"), "32-true").together(
        lambda whole: whole.cumsum(0), part
    )
    note["together"] = sums.tolist()

    trained.clear()
    patient = {"patience": 1, "min_delta": 9.0, "preview_every": 2}
    note["patient"] = type(start("patient", Control(), **patient)).__name__
    note["patient_weights"] = dict(trained)

    note["uneven"] = repr(start("uneven", Control(), batch_size=3))
    failed = start("failed", Control(), fail_at=2 if rank() == 1 else -1)
    note["failed"] = failed.message if isinstance(failed, Failed) else repr(failed)
    (folder / f"rank{rank()}.json").write_text(json.dumps(note))


def rank() -> int:
    return int(os.environ["RANK"])


def remember_weights(trained: dict[str, str]) -> None:
    """Note the hash of this process's networks after every step."""
    take_step = loop._take_step

    def spy(context: Any, state: Any, *more: Any) -> None:
        take_step(context, state, *more)
        networks = {name: net.state_dict() for name, net in state.stage.task.networks.items()}
        trained[f"{state.stage.name} {state.step}"] = digest(networks)

    loop._take_step = spy


if __name__ == "__main__":
    main(Path(sys.argv[1]))
