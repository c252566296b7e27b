"""When memory runs out the run goes on with less, from its last checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_mrgen.engine.memory.stepdown import NOTHING_HELPS
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.folder import Run
from tests.engine import toy
from tests.engine.conftest import Nursery

MIB = 1 << 20
HUNGRY = {"steps": 20, "save_every": 5, "preview_every": 50, "batch_size": 4, "greed": 200}
"""800 MiB from step 10 on, 400 MiB with half the batch."""


def told(run_dir: Path, kind: type[Event]) -> Sequence[Event]:
    return [event for event in Run(run_dir).history if isinstance(event, kind)]


def test_a_smaller_batch_goes_on_from_the_last_checkpoint(nursery: Nursery, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert nursery.run(run_dir, HUNGRY, memory_left=600 * MIB) == 0
    assert Run(run_dir).status == "finished"
    warned = [event.message for event in told(run_dir, events.Warned)]
    assert any("Memory ran out" in said and "batch_size 2" in said for said in warned)
    begun = [(e.stage, e.step) for e in told(run_dir, events.StageStarted)]
    assert begun == [("first", 0), ("first", 10), ("second", 0)]
    # The mildest saving is half the width: the weights of the checkpoint forbid it.
    config = Run(run_dir).config(toy.FAMILY)
    assert (config.batch_size, config.width) == (2, 4)


def test_a_run_that_nothing_helps_fails_with_an_advice(nursery: Nursery, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert nursery.run(run_dir, {**HUNGRY, "batch_size": 1}, memory_left=150 * MIB) == 1
    failure = (tmp_path / "failure.txt").read_text()
    assert "memory of CPU is full" in failure
    assert NOTHING_HELPS in failure
    assert not any("Memory ran out" in event.message for event in told(run_dir, events.Warned))
    assert nursery.run(run_dir, {}) == 0


def test_it_steps_down_as_far_as_it_goes_and_then_fails(nursery: Nursery, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert nursery.run(run_dir, {**HUNGRY, "greed": 400}, memory_left=300 * MIB) == 1
    assert NOTHING_HELPS in (tmp_path / "failure.txt").read_text()
    assert Run(run_dir).status == "failed"
    assert len([e for e in told(run_dir, events.Warned) if "ran out" in e.message]) <= 2
    assert nursery.run(run_dir, {}) == 0


def test_before_its_first_checkpoint_it_begins_again(nursery: Nursery, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    late = {**HUNGRY, "save_every": 50}
    assert nursery.run(run_dir, late, memory_left=600 * MIB) == 0
    (said,) = (e.message for e in told(run_dir, events.Warned) if "ran out" in e.message)
    assert "begins again with " in said
    assert [(e.stage, e.step) for e in told(run_dir, events.StageStarted)][:2] == 2 * [("first", 0)]


def test_what_a_run_stepped_down_to_outlives_it(nursery: Nursery, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    stop = ["first", 12]
    assert nursery.run(run_dir, HUNGRY, memory_left=600 * MIB, stop_at=stop) == 0
    assert Run(run_dir).status == "stopped"
    assert nursery.run(run_dir, {}, memory_left=600 * MIB) == 0
    assert len([e for e in told(run_dir, events.Warned) if "ran out" in e.message]) == 1
