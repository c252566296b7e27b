"""Mistakes at the start of a service or an export are one line."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from napari_mrgen import families
from napari_mrgen.app.generate import LocalGenerator
from napari_mrgen.cli.main import MISTAKE, main
from napari_mrgen.cli.serve import _announce
from napari_mrgen.service.server import Service, address_of
from tests.service.conftest import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model("dcgan", tmp_path_factory.mktemp("model") / "model.safetensors")


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line.removeprefix("napari-mrgen: ")


@pytest.mark.parametrize("command", ["serve", "export"])
def test_commands_explain_themselves(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert "RUN_OR_MODEL" in capsys.readouterr().out


def test_a_model_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("serve", "export"):
        assert main([command, "nowhere"]) == MISTAKE
        assert "nowhere is not there" in complaint(capsys)


def test_numbers_that_make_no_sense(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(model), "--at-once", "0"]) == MISTAKE
    assert complaint(capsys) == "Expected --at-once of 1 or more, got 0."
    assert main(["serve", str(model), "--port", "99999"]) == MISTAKE
    assert complaint(capsys) == "Expected --port from 0 to 65535, got 99999."


def test_a_port_that_is_taken(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(model), "--port", str(port)]) == MISTAKE
    assert f"127.0.0.1:{port} cannot be used" in complaint(capsys)
    assert main(["serve", str(model), "--host", "192.0.2.1"]) == MISTAKE
    assert "192.0.2.1:8501 cannot be used" in complaint(capsys)


def test_an_address_that_is_none(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["generate", str(model), "--out", "x.nii.gz", "--device", "http://:x"]
    assert main(wanted) == MISTAKE
    assert "Expected the address of a service" in complaint(capsys)


def test_a_missing_library_is_said_with_what_to_do(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", str(model)]) == MISTAKE
    assert "pip install 'napari-mrgen[serve]'" in complaint(capsys)


@pytest.mark.parametrize("is_known", [False, True])
def test_the_printed_use_has_no_token_on_a_command_line(
    is_known: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = SimpleNamespace(path="RUN", family=families.get("frame_prediction"))
    service = Service(cast("LocalGenerator", generator), "secret")
    _announce(service, address_of("0.0.0.0", 8501), is_known, as_json=False)
    _, use, _ = capsys.readouterr().out.splitlines()
    token = "…" if is_known else "secret"
    assert use == (
        f"Use it with: MRGEN_TOKEN={token} napari-mrgen generate RUN --input cine=FILE "
        f"--out FILE.nii.gz --device http://{socket.gethostname()}:8501"
    )
