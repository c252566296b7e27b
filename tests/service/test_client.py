"""Requests to a service: whom they trust, and how they end."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from napari_mrgen import families
from napari_mrgen.engine.control import Control
from napari_mrgen.errors import MrgenError
from napari_mrgen.service.client import Address, ServiceGenerator, get_json, posted

URL = "https://127.0.0.1:9"


def test_who_the_system_trusts_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Any] = []
    monkeypatch.setattr(ssl, "create_default_context", lambda: "of the system")

    def get(*_: object, **options: Any) -> httpx.Response:
        used.append(options["verify"])
        raise httpx.ConnectError("no")

    monkeypatch.setattr(httpx, "get", get)
    with pytest.raises(MrgenError, match="cannot be reached"):
        get_json(URL, {})
    assert used == ["of the system"]


def test_a_request_that_reaches_nobody_ends(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    with (
        pytest.raises(MrgenError, match="cannot be reached"),
        posted(URL, {}, {}, {"a": tmp_path / "a"}, Control()) as answer,
    ):
        answer.read(1)


def test_a_request_that_is_given_up_has_no_answer(tmp_path: Path) -> None:
    control = Control()
    control.stop()
    with posted(URL, {}, {"a": "b"}, {}, control) as answer:
        assert answer.read(1) == b""


def test_a_client_refuses_kspace_before_it_reads_it(tmp_path: Path) -> None:
    address = Address("http://here", "")
    generator = ServiceGenerator(address, {}, families.get("reconstruction"), None)
    with pytest.raises(MrgenError, match="on the machine where the file is"):
        next(generator.generate({"kspace": tmp_path / "nowhere.h5"}))
