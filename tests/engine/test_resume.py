"""A run that was stopped and resumed is the same, bit for bit, as one that was not."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit
from napari_mrgen.engine.run.events import Finished, Saved
from napari_mrgen.engine.run.folder import Run
from napari_mrgen.engine.run.state import saved_states
from tests.engine import toy
from tests.engine.conftest import ROOT, Nursery, digest_state

STEPS = 23


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], str]:
    """Hash of the training state after every step of an uninterrupted run, and of its models."""
    folder = tmp_path_factory.mktemp("reference")
    config = toy.ToyConfig(steps=STEPS, save_every=1, preview_every=4)
    digests: dict[tuple[str, int], str] = {}
    run_dir = folder / "run"
    inputs = toy.inputs(folder / "inputs")
    for event in fit(toy.FAMILY, config, inputs, run_dir, Control(), precision="32-true"):
        if isinstance(event, Saved):
            digests[event.stage, event.step] = digest_state(run_dir / event.path)
    assert isinstance(event, Finished), event
    return digests


def places(seed: int) -> list[tuple[str, int]]:
    """Draw random places to stop at: two in each stage, all in the middle of an epoch."""
    draws = random.Random(seed)
    inside = [step for step in range(1, STEPS - 1) if (step * 4) % 10 and (step * 4) % 3]
    return [(s, k) for s in ("first", "second") for k in sorted(draws.sample(inside, 2))]


@pytest.mark.parametrize("seed", range(3))
def test_stop_and_resume_in_new_processes_equals_uninterrupted(
    seed: int, reference: dict[tuple[str, int], str], nursery: Nursery, tmp_path: Path
) -> None:
    config = {"steps": STEPS, "save_every": 1000, "preview_every": 7}
    for stage, step in places(seed):
        assert nursery.run(tmp_path / "run", config, stop_at=[stage, step]) == 0
        newest = saved_states(tmp_path / "run" / "checkpoints")[0]
        # The step that was going on when the stop came was ended.
        assert (newest.stage, newest.step) == (stage, step + 1)
        assert digest_state(newest.path) == reference[stage, step + 1]
    assert nursery.run(tmp_path / "run", config) == 0
    assert Run(tmp_path / "run").status == "finished"
    newest = saved_states(tmp_path / "run" / "checkpoints")[0]
    assert digest_state(newest.path) == reference["second", STEPS]


def test_resume_in_a_new_interpreter(
    reference: dict[tuple[str, int], str], nursery: Nursery, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    nursery.run(run_dir, {"steps": STEPS, "save_every": 1000}, stop_at=["second", 5])
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.engine import toy\n"
        "from napari_mrgen.engine.fit import resume\n"
        "from napari_mrgen.engine.control import Control\n"
        "events = list(resume(Path(sys.argv[1]), toy.lookup, Control()))\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", script, str(run_dir)], cwd=ROOT, check=True, env=environment
    )
    newest = saved_states(run_dir / "checkpoints")[0]
    assert digest_state(newest.path) == reference["second", STEPS]
