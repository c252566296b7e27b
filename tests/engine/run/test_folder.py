"""The run folder as another process sees it."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.folder import (
    Run,
    RunOptions,
    create,
    fingerprint,
    read_preview,
    watch,
    write_json,
)
from napari_mrgen.engine.run.journal import Journal, parse_event, write_event
from napari_mrgen.engine.run.lock import living_trainer, locked
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Participant, Volume
from tests.engine import toy

STARTED = events.Started("run", "toy", "CPU", ("first",))
STEPPED = events.Stepped("first", 1, 2, {"error": 0.5}, 0.1, 0.1)


def test_watch_follows_a_living_run_to_its_end(tmp_path: Path) -> None:
    stopped = events.Stopped("first", 2)

    def train() -> None:
        with locked(tmp_path), Journal(tmp_path) as journal:
            journal.record(STARTED)
            begun.set()
            time.sleep(0.3)
            journal.record(STEPPED)
            journal.record(stopped)

    begun = threading.Event()
    trainer = threading.Thread(target=train)
    trainer.start()
    begun.wait()
    assert list(watch(tmp_path)) == [STARTED, STEPPED, stopped]
    trainer.join()
    assert Run(tmp_path).status == "stopped"


def test_a_run_whose_process_died_is_interrupted(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.record(STARTED)
    assert Run(tmp_path).status == "interrupted"
    *told, failed = watch(tmp_path)
    assert told == [STARTED]
    assert isinstance(failed, events.Failed)
    assert "interrupted" in failed.message
    assert list(watch(tmp_path, follow=False)) == [STARTED]


def test_a_torn_line_is_passed_over_and_ended(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.record(STARTED)
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "Stepped", "sta')
    assert list(watch(tmp_path, follow=False)) == [STARTED]
    with Journal(tmp_path) as journal:
        journal.record(STEPPED)
    assert list(watch(tmp_path, follow=False)) == [STARTED, STEPPED]


def test_a_json_file_is_written_whole(tmp_path: Path) -> None:
    """A kill while it was written once left an empty one, which no later session could read."""
    path = tmp_path / "environment.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, [2, object()])
    assert json.loads(path.read_text()) == [1]


class TestLock:
    def test_one_trainer_only(self, tmp_path: Path) -> None:
        with (
            locked(tmp_path),
            pytest.raises(MrgenError, match=f"process {os.getpid()}"),
            locked(tmp_path),
        ):
            pass
        assert living_trainer(tmp_path) is None

    def test_a_dead_trainer_does_not_hold(self, tmp_path: Path) -> None:
        lock = {"host": socket.gethostname(), "pid": os.getpid(), "born": 1.0}
        (tmp_path / "lock.json").write_text(json.dumps(lock))
        with locked(tmp_path):
            assert living_trainer(tmp_path) == f"process {os.getpid()}"

    def test_of_those_that_come_at_once_at_most_one_holds(self, tmp_path: Path) -> None:
        lock = {"host": socket.gethostname(), "pid": os.getpid(), "born": 1.0}
        gate, holders = threading.Barrier(4, timeout=30), []

        def come() -> None:
            gate.wait()
            with ExitStack() as stack:
                with suppress(MrgenError):
                    stack.enter_context(locked(tmp_path))
                    holders.append(threading.current_thread())
                gate.wait()  # None leaves before all have tried.

        for _ in range(25):
            holders.clear()
            (tmp_path / "lock.json").write_text(json.dumps(lock))
            together = [threading.Thread(target=come) for _ in range(4)]
            for thread in together:
                thread.start()
            for thread in together:
                thread.join()
            assert len(holders) <= 1
        assert not list(tmp_path.iterdir())

    def test_a_refused_one_takes_nothing_with_it(self, tmp_path: Path) -> None:
        with locked(tmp_path):
            with pytest.raises(MrgenError), locked(tmp_path):
                pass
            assert living_trainer(tmp_path) == f"process {os.getpid()}"

    def test_a_trainer_elsewhere_holds_while_it_talks(self, tmp_path: Path) -> None:
        lock = {"host": "elsewhere", "pid": 1, "born": 1.0}
        (tmp_path / "lock.json").write_text(json.dumps(lock))
        assert living_trainer(tmp_path) is None
        (tmp_path / "events.jsonl").touch()
        assert living_trainer(tmp_path) == "elsewhere (process 1)"
        os.utime(tmp_path / "events.jsonl", (0, 0))
        assert living_trainer(tmp_path) is None

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "x"}'])
    def test_a_torn_lock_does_not_hold(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "lock.json").write_text(text)
        assert living_trainer(tmp_path) is None


def test_a_run_with_its_inputs_inside_can_be_moved(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    inputs = toy.inputs(run_dir / "inputs")
    create(run_dir, RunOptions("toy", "32-true"), toy.ToyConfig(), inputs)
    moved = run_dir.rename(tmp_path / "moved")
    assert Run(moved).inputs == toy.inputs(moved / "inputs")
    assert Run(moved).changed_inputs() == ()
    assert Run(moved).config(toy.FAMILY) == toy.ToyConfig()


def test_a_run_remembers_the_slices_of_a_case_and_what_is_known_of_it(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    slices = tuple(folder / f"case_001_slice_{k}.nii.png" for k in range(3))
    labels = tuple(folder / f"seg_001_slice_{k}.nii.png" for k in range(3))
    case = Reference(slices[0], "case_001", labels, slices, Participant(age=74.0, sex="F"))
    inputs = Inputs({"slices": (case,)}, Split(("case_001",), ()))
    create(tmp_path / "run", RunOptions("toy", "32-true"), toy.ToyConfig(), inputs)
    assert Run(tmp_path / "run").inputs == inputs


def test_a_run_of_another_version_is_refused(tmp_path: Path) -> None:
    create(tmp_path, RunOptions("toy", "32-true", format=9), toy.ToyConfig(), toy.inputs(tmp_path))
    with pytest.raises(MrgenError, match="format 9"):
        _ = Run(tmp_path).options


@pytest.mark.parametrize("size", [0, 5, 200_000])
def test_a_fingerprint_follows_the_content(tmp_path: Path, size: int) -> None:
    path = tmp_path / "scan"
    path.write_bytes(bytes(size))
    before = fingerprint(path)
    assert fingerprint(path) == before
    path.write_bytes(bytes(size) + b"x")
    assert fingerprint(path) != before
    path.unlink()
    assert fingerprint(path) == ""


def test_a_series_in_a_file_has_the_fingerprint_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(b"many series")
    before = fingerprint(path / "000000")
    assert before == fingerprint(path) != ""
    path.write_bytes(b"other series")
    assert fingerprint(path / "000000") != before


def test_a_preview_is_read_with_what_it_shows_and_its_window(tmp_path: Path) -> None:
    volume = Volume(np.zeros((2, 3, 4), np.float32), "zyx", np.eye(4))
    nifti.write(volume, tmp_path / "0-stage-00000001-0.nii")
    event = events.Previewed("stage", 1, ("0-stage-00000001-0.nii",), ("real T1w",), ((0, 1),))
    written = parse_event(json.loads(json.dumps(write_event(event))))
    assert written == event
    assert isinstance(written, events.Previewed)
    (read,) = read_preview(tmp_path, written)
    assert read.name == "real T1w"
    assert read.window == (0, 1)
    (older,) = read_preview(tmp_path, replace(event, names=(), windows=()))
    assert older.name == "0-stage-00000001-0"
