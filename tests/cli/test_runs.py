"""Training from the command line: what is printed, what is left, how it is stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_mrgen.cli.main import MISTAKE, main
from tests.conftest import Program


def events_of(text: str) -> list[str]:
    return [json.loads(line)["event"] for line in text.splitlines()]


def test_a_run_leaves_everything_in_its_folder(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names >= {
        "config.yaml", "inputs.json", "events.jsonl", "metrics.csv", "model.safetensors",
        "scoreboard.json",
    }  # fmt: skip


def test_a_plan_trains_nothing(hearts: Path, program: Program, tmp_path: Path) -> None:
    arguments = ("train", "frame_prediction", "--preset", "tiny", "--input", f"cine={hearts}")
    plan = json.loads(program(*arguments, "--plan", "--json", cwd=tmp_path).stdout)
    assert plan["parameters"] > 0
    assert plan["memory_bytes"] > 0
    assert plan["layers"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "--out RUN"),
        (("--out", "RUN", "--preset", "quikc"), "did you mean 'quick'?"),
        (("--out", "RUN", "--set", "learing_rate=1"), "did you mean 'learning_rate'?"),
        (("--out", "RUN", "--input", "cin=."), "did you mean 'cine'?"),
        (("--out", "RUN", "--stage", "gna"), "did you mean 'gan'?"),
        (("--out", "RUN", "--device", "cuda:7"), "cuda:7"),
        (("--out", "RUN", "--split", "nowhere.json"), "nowhere.json"),
        (("--out", "RUN", "--config", "nowhere.yaml"), "nowhere.yaml cannot be read"),
        (("--out", "RUN", "--start-from", "nowhere"), "nowhere"),
        (("--out", __file__), "is a file"),
        (("--out", "TRAINED"), "holds a run already"),
        (("--out", "RUN", "--preset", "tiny", "--config", "x.yaml"), "not allowed with"),
    ],
)
def test_a_mistake_costs_nothing(
    arguments: tuple[str, ...],
    sentence: str,
    hearts: Path,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    places = {"RUN": str(run), "TRAINED": str(trained)}
    given = [places.get(argument, argument) for argument in arguments]
    assert main(["train", "frame_prediction", "--input", f"cine={hearts}", *given]) == MISTAKE
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert not run.exists()


def test_a_missing_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "frame_prediction", "--out", str(tmp_path / "run")]) == MISTAKE
    assert "'cine' is missing" in capsys.readouterr().err


def test_watch_tells_the_same_as_the_run(trained: Path, program: Program) -> None:
    told = events_of(program("watch", trained, "--json").stdout)
    written = events_of((trained / "events.jsonl").read_text())
    assert told == written
    assert told[0] == "Started"
    assert told[-1] == "Finished"


def test_in_a_pipe_there_are_plain_lines(trained: Path, program: Program) -> None:
    text = program("watch", trained).stdout
    assert "\x1b" not in text
    assert "\r" not in text
    assert "persistence" in text
    assert text.splitlines()[-1].startswith("Model: ")


def test_a_finished_run_finishes_again(trained: Path, program: Program) -> None:
    done = program("resume", trained, "--json")
    assert done.returncode == 0
    assert events_of(done.stdout)[-1] == "Finished"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_and_saves(
    number: signal.Signals, code: int, hearts: Path, program: Program, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [
        sys.executable, "-m", "napari_mrgen", "train", "frame_prediction", "--preset", "tiny",
        "--set", "autoencoder_steps=5000", "--set", "gan_steps=0", "--set", "save_every=100000",
        "--set", "preview_every=100000",
        "--input", f"cine={hearts}", "--out", str(run), "--device", "cpu", "--json",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "Stepped":
                process.send_signal(number)
                break
        try:
            rest, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == code
    assert errors.splitlines()[-1] == "Stopping after this step; once more to kill."
    assert events_of(rest)[-1] == "Stopped"
    stopped_at = json.loads(rest.splitlines()[-1])["step"]
    _shorten(run, stopped_at + 3)
    done = program("resume", run, "--json")
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert next(e["step"] for e in steps if e["event"] == "StageStarted") == stopped_at
    assert steps[-1]["event"] == "Finished"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_a_second_signal_kills(hearts: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "from napari_mrgen.cli.report import stop_on_signals\n"
        "with stop_on_signals() as control:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(0.1)\n"
        "    print('stopped', control.is_stopped, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(10)\n"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGINT
    assert done.stdout.strip() == "stopped True"
    assert time.monotonic() - start < 8


def test_a_split_file_and_a_config_file_repeat_a_run(
    trained: Path, hearts: Path, program: Program, tmp_path: Path
) -> None:
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["heart-1", "heart-3"], "test": ["heart-2"]}))
    run = tmp_path / "run"
    done = program(
        "train", "frame_prediction", "--config", trained / "config.yaml", "--split", split,
        "--input", f"cine={hearts}", "--out", run, "--stage", "autoencoder", "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (run / "config.yaml").read_text() == (trained / "config.yaml").read_text()
    assert json.loads((run / "inputs.json").read_text())["split"] == json.loads(split.read_text())
    shutil.rmtree(run)


def _shorten(run: Path, steps: int) -> None:
    """Bring the end of a long run near, so that resuming it is quick."""
    config = run / "config.yaml"
    text = config.read_text().replace("autoencoder_steps: 5000", f"autoencoder_steps: {steps}")
    config.write_text(text)
