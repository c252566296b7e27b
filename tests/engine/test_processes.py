"""Two processes under torchrun are the same loop as one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit
from napari_mrgen.engine.run.events import Finished
from napari_mrgen.engine.run.folder import Run
from napari_mrgen.engine.run.model import load_weights
from tests.engine import toy
from tests.engine.conftest import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("group")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}"]
    subprocess.run(
        [*command, "-m", "tests.engine.processes_script", str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        check=True,
        timeout=280,
    )
    return folder


@pytest.fixture(scope="module")
def notes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def test_processes_stay_the_same(notes: list[dict[str, Any]]) -> None:
    assert [note["whole"] for note in notes] == ["Finished", "Finished"]
    assert len(notes[0]["whole_weights"]) == 16
    assert notes[0]["whole_weights"] == notes[1]["whole_weights"]


def test_a_stop_asked_of_one_is_a_stop_of_all(notes: list[dict[str, Any]]) -> None:
    assert notes[0]["stopped"] == notes[1]["stopped"] == "Stopped(stage='first', step=5)"


def test_resumed_equals_uninterrupted(notes: list[dict[str, Any]]) -> None:
    for note in notes:
        assert note["resumed"] == "Finished"
        assert note["resumed_weights"] == note["whole_weights"]


def test_a_function_of_all_parts_gives_each_its_own(notes: list[dict[str, Any]]) -> None:
    assert [note["together"] for note in notes] == [[[0.0]], [[1.0]]]


def test_the_result_is_saved_once(folder: Path) -> None:
    run = Run(folder / "whole")
    assert run.status == "finished"
    assert sum(isinstance(event, Finished) for event in run.history) == 1


def test_the_patience_of_one_is_that_of_all(notes: list[dict[str, Any]]) -> None:
    assert [note["patient"] for note in notes] == ["Finished", "Finished"]
    steps = [name for name in notes[0]["patient_weights"] if name.startswith("first")]
    assert steps == ["first 1", "first 2", "first 3", "first 4"]
    # The second stage began with the best weights of the first, in both.
    assert notes[0]["patient_weights"] == notes[1]["patient_weights"]


def test_a_batch_must_be_shared_evenly(notes: list[dict[str, Any]]) -> None:
    assert all("multiple of 2" in note["uneven"] for note in notes)


def test_a_failure_of_one_ends_all(notes: list[dict[str, Any]]) -> None:
    assert "told to fail" in notes[1]["failed"]
    assert "Another process" in notes[0]["failed"]


def test_two_processes_learn_what_one_learns(folder: Path, tmp_path: Path) -> None:
    """Not bit for bit: sums are in another order, and noise is drawn by each process."""
    config = toy.ToyConfig(steps=8)
    inputs = toy.inputs(tmp_path / "inputs")
    list(fit(toy.FAMILY, config, inputs, tmp_path / "run", Control(), precision="32-true"))
    alone, shared = (
        load_weights(path)["predictor"]["head.weight"]
        for path in (tmp_path / "run", folder / "whole")
    )
    assert torch.allclose(alone, shared, atol=0.05)
