"""Requests to a service: whom they trust, and how they end."""

from __future__ import annotations

import io
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from napari_mrgen.engine.control import Control
from napari_mrgen.errors import MrgenError
from napari_mrgen.service.asking import ask, stream

URL = "https://127.0.0.1:9"


def test_who_the_system_trusts_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Any] = []
    monkeypatch.setattr(ssl, "create_default_context", lambda: "of the system")

    def get(*_: object, **options: Any) -> httpx.Response:
        used.append(options["verify"])
        raise httpx.ConnectError("no")

    monkeypatch.setattr(httpx, "get", get)
    with pytest.raises(MrgenError, match="cannot be reached"):
        ask(URL, {})
    assert used == ["of the system"]


def test_a_request_that_has_ended_can_be_given_up(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    with stream(URL, {}, {}, {"a": tmp_path / "a"}, Control()) as answer:
        assert isinstance(answer, io.RawIOBase)
        with pytest.raises(MrgenError, match="cannot be reached"):
            answer.read()
        answer._thread.join()  # type: ignore[attr-defined]
        assert answer._loop.is_closed()  # type: ignore[attr-defined]
