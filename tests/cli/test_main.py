"""What every command has in common: speed, exit codes, one line for a mistake."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_mrgen.cli import info
from napari_mrgen.cli.main import CRASH, MISTAKE, OK, main
from tests.conftest import Program

COMMANDS = (
    "demo", "families", "devices", "train", "resume", "watch", "generate", "evaluate", "info",
)  # fmt: skip


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line on stderr."""
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert len(lines) == 1
    assert lines[0].startswith("napari-mrgen: ")
    return lines[0]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from napari_mrgen.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'rich', 'napari'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 2
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "required"),
        (("trian",), "invalid choice"),
        (("families", "frame_predicton"), "did you mean 'frame_prediction'?"),
        (("info", "nowhere.nii"), "no nowhere.nii"),
        (("info", __file__), "test_main.py"),
        (("resume", "nowhere"), "does not exist"),
        (("watch", "."), "has no run in it"),
        (("generate", "nowhere", "--out", "x.nii.gz"), "nowhere is not there"),
        (("evaluate", "nowhere"), "nowhere is not there"),
        (("demo", "--out", __file__), "is a file"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == MISTAKE
    assert sentence in complaint(capsys)


def test_a_crash_keeps_its_details(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def crash(options: object) -> int:
        raise ZeroDivisionError("one\ntwo")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(info, "show_info", crash)
    assert main(["info", "."]) == CRASH
    assert "Unexpected ZeroDivisionError: one Details are in" in complaint(capsys)
    (log,) = tmp_path.glob("napari-mrgen-*.log")
    assert "Traceback" in log.read_text()


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m napari_mrgen families frame_prediction | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (OK, "")


def test_the_module_is_the_program(program: Program) -> None:
    done = program("--version")
    assert done.stdout.startswith("napari-mrgen ")
