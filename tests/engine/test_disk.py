"""When the disk is full the run fails with a sentence, and nothing saved is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_mrgen.engine.run.folder import Run
from napari_mrgen.engine.run.state import saved_states
from napari_mrgen.io.files import replacing
from tests.engine.conftest import Nursery, digest_state

CONFIG = {"steps": 20, "save_every": 5, "preview_every": 50, "ballast": 500_000}


def test_the_last_checkpoint_outlives_a_full_disk(nursery: Nursery, tmp_path: Path) -> None:
    whole, run_dir = tmp_path / "whole" / "run", tmp_path / "run"
    assert nursery.run(whole, CONFIG) == 0
    assert nursery.run(run_dir, CONFIG, stop_at=["first", 7]) == 0
    before = [
        (state.path, digest_state(state.path)) for state in saved_states(run_dir / "checkpoints")
    ]

    assert nursery.run(run_dir, CONFIG, file_limit=1_000_000) == 1
    said = (tmp_path / "failure.txt").read_text()
    assert "disk is full" in said
    assert "Make room" in said
    assert Run(run_dir).status == "failed"
    assert [(path, digest_state(path)) for path, _ in before] == before
    assert not list((run_dir / "checkpoints").glob(".*"))

    assert nursery.run(run_dir, CONFIG) == 0
    ends = [saved_states(folder / "checkpoints")[0].path for folder in (whole, run_dir)]
    assert digest_state(ends[0]) == digest_state(ends[1])


@pytest.mark.parametrize("limit", [0, 300])
def test_not_even_an_event_can_be_written(nursery: Nursery, tmp_path: Path, limit: int) -> None:
    """Neither does the process die; the sentence still comes as an event."""
    run_dir = tmp_path / "run"
    assert nursery.run(run_dir, CONFIG, stop_at=["first", 2]) == 0
    # The test's own note of the failure cannot be written either: only the status tells.
    assert nursery.run(run_dir, CONFIG, file_limit=limit) == 1
    assert nursery.run(run_dir, CONFIG) == 0


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"new", None])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_drafts_of_killed_processes_are_removed(nursery: Nursery, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert nursery.run(run_dir, CONFIG, stop_at=["first", 2]) == 0
    for name in ("checkpoints", "previews", "predictions/deep"):
        (run_dir / name).mkdir(parents=True, exist_ok=True)
        (run_dir / name / ".1.part.file.nii").write_bytes(b"half")
    assert nursery.run(run_dir, CONFIG) == 0
    assert not list(run_dir.rglob(".*"))
