"""Jobs, really done: what they leave, how they go on, and that none ends the rest."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from napari_mrgen.app.jobs.file import Job, Prediction, write_jobs
from napari_mrgen.app.jobs.notify import Notices
from napari_mrgen.app.jobs.run import (
    JobOutcome,
    JobProgress,
    JobStarted,
    check_paths,
    read_metrics,
    run_jobs,
    spread,
)
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.folder import Run
from napari_mrgen.engine.run.model import load_weights
from napari_mrgen.engine.run.model_header import read_header
from napari_mrgen.errors import MrgenError

SHORT = {"autoencoder_steps": 6, "gan_steps": 0, "save_every": 2, "preview_every": 3}
FRAMES, START = 4, 8


@dataclass(frozen=True)
class Work:
    """What became of a list of jobs."""

    folder: Path
    reports: list[Any]

    @property
    def outcomes(self) -> dict[str, JobOutcome]:
        return {r.job.name: r for r in self.reports if isinstance(r, JobOutcome)}

    def kinds(self, name: str) -> set[str]:
        """What a job has told of, by the names of the events."""
        told = (r for r in self.reports if isinstance(r, JobProgress) and r.job.name == name)
        return {type(report.event).__name__ for report in told}


def train_job(folder: Path, hearts: Path, name: str = "first", **changes: Any) -> Job:
    values = {
        "task": "train_and_predict", "family": "frame_prediction", "preset": "tiny",
        "settings": SHORT, "inputs": {"cine": hearts}, "device": "cpu",
        "predict": Prediction(settings={"frames": FRAMES, "start_frame": START}), "weights": 2,
        **changes,
    }  # fmt: skip
    return Job(name=name, out=folder / name, **values)


def do(folder: Path, jobs: Iterable[Job], **options: Any) -> Work:
    return Work(folder, list(run_jobs(jobs, options.pop("control", Control()), **options)))


def export(model: Path, out: Path) -> Iterator[Path]:
    out.write_bytes(model.read_bytes()[:8])
    yield out


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, hearts: Path) -> Work:
    """Three jobs: one whole, one that fails, one that uses the first one's model."""
    folder = tmp_path_factory.mktemp("jobs")
    later = Job(
        name="later", task="predict", out=folder / "later", model=folder / "first", device="cpu",
        inputs={"cine": hearts / "heart-2.nii.gz"}, settings={"frames": 3},
    )  # fmt: skip
    bad = train_job(folder, hearts / "nowhere", "bad")
    return do(folder, [train_job(folder, hearts, export="onnx"), bad, later], export=export)


def test_one_that_fails_does_not_end_the_rest(work: Work) -> None:
    states = {name: outcome.state for name, outcome in work.outcomes.items()}
    assert states == {"first": "finished", "bad": "failed", "later": "finished"}
    assert "nowhere" in work.outcomes["bad"].problem
    assert [type(r) for r in work.reports if isinstance(r, JobStarted | JobOutcome)] == [
        JobStarted,
        JobOutcome,
    ] * 3


def test_a_training_leaves_all_that_there_is(work: Work) -> None:
    folder = work.folder / "first"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert names >= {
        "model.safetensors", "history.csv", "job.json", "scoreboard.json", "predictions/result.h5",
        "predictions/scans.csv", "figures/predictions.png", "figures/autoencoder_curves.png",
        "export/model.onnx", "weights/autoencoder-00000006.safetensors",
    }  # fmt: skip
    assert any(name.startswith("tensorboard/events.out") for name in names)
    assert len(list((folder / "weights").iterdir())) == 2
    assert read_header(folder / "weights" / "autoencoder-00000006.safetensors").step == 6


def test_the_history_is_a_table(work: Work) -> None:
    with (work.folder / "first" / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["stage"] for row in rows} == {"autoencoder"}
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(set(steps))
    judged = {int(row["step"]) for row in rows if any(
        value for name, value in row.items() if name.startswith("held_out/"))}  # fmt: skip
    assert judged == {3, 6}


def test_the_results_stand_beside_the_truth(work: Work) -> None:
    with h5py.File(work.folder / "first" / "predictions" / "result.h5") as file:
        shape = (1, FRAMES, 2, 40, 40)
        assert file["result"].shape == file["truth"].shape == shape
        assert list(file["result"].attrs["axes"]) == ["case", "t", "z", "y", "x"]
        source = file["input"][0]
        np.testing.assert_array_equal(file["truth"][0], source[START + 1 : START + 1 + FRAMES])
        assert np.isfinite(file["result"]).all()
        assert np.abs(file["result"][0] - file["truth"][0]).mean() < source.std()


def test_a_prediction_alone(work: Work) -> None:
    with h5py.File(work.folder / "later" / "predictions" / "result.h5") as file:
        assert file["result"].shape == (1, 3, 2, 40, 40)
        assert "truth" not in file
        assert list(file["result_cases"].asstr()[()]) == ["heart-2"]


def test_done_again_nothing_is_made_again(work: Work, hearts: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in work.folder.rglob("*.safetensors")}
    again = do(work.folder, [train_job(work.folder, hearts, export="onnx")], export=export)
    assert again.outcomes["first"].state == "finished"
    assert again.outcomes["first"].metrics == work.outcomes["first"].metrics != {}
    assert "Stepped" not in again.kinds("first")
    done = [
        r.event for r in again.reports if isinstance(r, JobProgress) and hasattr(r.event, "is_kept")
    ]
    assert [one.is_kept for one in done] == [True]
    assert before == {path: path.stat().st_mtime_ns for path in work.folder.rglob("*.safetensors")}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settings": {**SHORT, "learning_rate": 0.5}}, "learning_rate was 0.001, not 0.5"),
        ({"inputs": {"cine": "elsewhere"}}, "inputs was"),
    ],
)
def test_another_training_is_not_gone_on_with(
    changes: dict[str, Any], said: str, work: Work, hearts: Path
) -> None:
    outcome = do(work.folder, [train_job(work.folder, hearts, **changes)]).outcomes["first"]
    assert outcome.state == "failed"
    assert said in outcome.problem
    assert not outcome.metrics  # They are of the training that is there.


@pytest.mark.parametrize("board", ["{", "[]", '{"rows": [3]}', '{"rows": [{"mean": []}]}'])
def test_a_damaged_scoreboard_has_no_metrics(board: str, tmp_path: Path) -> None:
    (tmp_path / "scoreboard.json").write_text(board)
    assert read_metrics(Job(name="a", family="dcgan", out=tmp_path)) == {}


def test_a_run_that_no_job_began_is_left_alone(hearts: Path, tmp_path: Path) -> None:
    run = tmp_path / "first"
    run.mkdir()
    (run / "events.jsonl").touch()
    outcome = do(tmp_path, [train_job(tmp_path, hearts)]).outcomes["first"]
    assert (outcome.state, "did not begin" in outcome.problem) == ("failed", True)
    assert [path.name for path in run.iterdir()] == ["events.jsonl"]


def test_a_stop_saves_and_the_rest_waits(work: Work, hearts: Path, tmp_path: Path) -> None:
    control, jobs = Control(), [train_job(tmp_path, hearts), train_job(tmp_path, hearts, "second")]
    reports = []
    for report in run_jobs(jobs, control):
        reports.append(report)
        if isinstance(report, JobProgress) and isinstance(report.event, events.Saved):
            control.stop()
    outcomes = Work(tmp_path, reports).outcomes
    assert {name: one.state for name, one in outcomes.items()} == {"first": "stopped"}
    assert Run(tmp_path / "first").status == "stopped"
    assert do(tmp_path, jobs[:1]).outcomes["first"].state == "finished"
    check_same_model(tmp_path / "first", work.folder / "first")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_killed_it_goes_on_where_it_stood(hearts: Path, tmp_path: Path) -> None:
    job, whole = train_job(tmp_path, hearts), train_job(tmp_path, hearts, "whole")
    program = [sys.executable, "-m", "napari_mrgen", "run", "--json"]
    for one in (job, whole):
        write_jobs([one], tmp_path / f"{one.name}.yaml")
    command = [*program, str(tmp_path / f"{job.name}.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "Saved" and event["step"] == 2:
                os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert Run(job.out).status == "interrupted"
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["resumed"] for e in told if e["event"] == "Started"] == [True]
    assert next(e["step"] for e in told if e["event"] == "StageStarted") >= 2
    assert told[-1]["event"] == "Summary"
    # In a process of its own, too: what ran in this one before may have changed how it rounds.
    subprocess.run([*program, str(tmp_path / "whole.yaml")], check=True, env=environment,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    check_same_model(job.out, whole.out)


def check_same_model(run: Path, other: Path) -> None:
    weights = [load_weights(folder / "model.safetensors") for folder in (run, other)]
    for name, tensors in weights[0].items():
        for key, tensor in tensors.items():
            np.testing.assert_array_equal(tensor, weights[1][name][key])


def test_whoever_waits_is_told_and_a_broken_server_harms_nothing(tmp_path: Path) -> None:
    mail = {"server": "localhost", "port": 9, "security": "none", "sender": "a", "to": "b"}
    notices = Notices.read({"email": mail})
    job = Job(name="gone", task="predict", model=tmp_path / "gone", out=tmp_path / "out")
    work = do(tmp_path, [job], notices=notices)
    assert work.outcomes["gone"].state == "failed"
    warned = [r.message for r in work.reports if isinstance(r, events.Warned)]
    assert len(warned) == 3  # the start, the failure, the end
    assert all("e-mail by localhost" in message for message in warned)


def test_what_nobody_expected_is_kept_for_a_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = Job(name="a", task="predict", model=tmp_path, out=tmp_path / "a")
    log = job.out / "failure.log"
    with monkeypatch.context() as broken:
        broken.setattr("napari_mrgen.app.jobs.predict.predict", lambda *_: 1 / 0)
        problem = do(tmp_path, [job]).outcomes["a"].problem
    assert problem == f"ZeroDivisionError: division by zero. Details are in {log}."
    assert "Traceback" in log.read_text()
    do(tmp_path, [job])  # What fails as it may needs no report.
    assert not log.exists()


def test_what_a_killed_job_left_half_written_is_removed(tmp_path: Path) -> None:
    job = Job(name="a", task="predict", model=tmp_path, out=tmp_path / "a")
    names = ("predictions/.cases.part.h5", "export/.7.part.model.onnx", "weights/.7.part.gan-1")
    for name in (*names, "predictions/heart.nii.gz"):
        (job.out / name).parent.mkdir(parents=True, exist_ok=True)
        (job.out / name).touch()
    do(tmp_path, [job])
    assert [p.name for p in job.out.rglob("*") if p.is_file()] == ["heart.nii.gz"]


def test_jobs_may_be_added_while_others_run(tmp_path: Path) -> None:
    waiting = [Job(name="a", task="predict", model=tmp_path, out=tmp_path / "a")]
    ended = []
    for report in run_jobs(iter(lambda: waiting.pop(0) if waiting else None, None), Control()):
        if isinstance(report, JobOutcome):
            ended.append(report.job.name)
            if len(ended) == 1:
                waiting.append(Job(name="b", task="predict", model=tmp_path, out=tmp_path / "b"))
    assert ended == ["a", "b"]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
def test_what_is_kept_is_spread_over_the_training(count: int) -> None:
    steps: tuple[int, ...] = ()
    for step in range(1, 41):
        steps = spread((*steps, step), count)
        assert steps[-1] == step
        assert len(steps) == min(step, count)
    assert np.diff([0, *steps]).max() <= 2 * 40 / len(steps)


def test_what_a_job_before_makes_need_not_be_there(tmp_path: Path) -> None:
    (tmp_path / "heads").mkdir()
    heads, out = tmp_path / "heads", tmp_path / "m"
    first = Job(name="m", family="vqvae", inputs={"slices": heads}, out=out)
    for place, is_known in ((out / "predictions", True), (tmp_path / "nowhere", False)):
        second = Job(
            name="a", task="predict", model=out, inputs={"image": place}, out=tmp_path / "a"
        )
        with nullcontext() if is_known else pytest.raises(MrgenError, match="there is no"):
            check_paths([first, second])
