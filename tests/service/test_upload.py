"""What a service takes in and what it does not, without a process and a network of its own."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import h5py
import httpx
import numpy as np
import pytest

from napari_mrgen import families
from napari_mrgen.app.generate import LocalGenerator
from napari_mrgen.io import nifti
from napari_mrgen.service.server import Service
from napari_mrgen.service.upload import LimitedReceive, Limits
from napari_mrgen.volume import Source, Volume

TOKEN = "secret"


class Echo:
    """Gives back what it gets, in the place of a model."""

    def __init__(self, family: str) -> None:
        self.family, self.path = families.get(family), Path("model")
        self.model = SimpleNamespace(hash="0")
        self.got: list[Mapping[str, Volume]] = []

    def generate(
        self, inputs: Mapping[str, Volume], config: object, *_: object
    ) -> Iterator[Volume]:
        self.got.append(inputs)
        for _ in range(getattr(config, "samples", 1)):
            yield from inputs.values()


def service(family: str, **limits: int) -> tuple[Service, Echo]:
    echo = Echo(family)
    return Service(cast("LocalGenerator", echo), TOKEN, Limits(**limits), 1, 1), echo


def asked(served: Service, method: str, path: str, **options: Any) -> httpx.Response:
    """Ask a service in this process."""

    async def ask() -> httpx.Response:
        way = httpx.ASGITransport(served)
        headers = {"Authorization": f"Bearer {TOKEN}", **options.pop("headers", {})}
        async with httpx.AsyncClient(transport=way, base_url="http://here") as client:
            return await client.request(method, path, headers=headers, **options)

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, cine: Path) -> bytes:
    """A file that is a small NIfTI to who looks at its head, and HDF5 to who looks further."""
    path = tmp_path_factory.mktemp("both") / "both.nii"
    nifti.write(nifti.read(cine), path)
    head = path.read_bytes()[:352]
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group("dataset")
        group["data"], group["xml"] = np.zeros(20_000), "<ismrmrdHeader/>"
    with path.open("r+b") as stream:
        stream.write(head)
    assert h5py.is_hdf5(path)
    return path.read_bytes()


@pytest.mark.parametrize("role", ["kspace", "cine"])
def test_nothing_is_opened_as_another_kind_of_file(role: str, both: bytes) -> None:
    served, echo = service("reconstruction")
    answer = asked(served, "POST", "/generate", files={role: ("x.h5", both)})
    assert answer.status_code == 400
    expected = "There is no input 'kspace'" if role == "kspace" else "must be a NIfTI file"
    assert expected in answer.json()["problem"]
    assert not echo.got


def test_kspace_is_not_offered() -> None:
    served, _ = service("reconstruction")
    told = asked(served, "GET", "/info").json()
    assert [one["role"] for one in told["inputs"]] == ["cine", "undersampled"]


def test_a_model_never_learns_where_a_file_lay(cine: Path) -> None:
    served, echo = service("reconstruction")
    answer = asked(served, "POST", "/generate", files={"cine": (cine.name, cine.read_bytes())})
    assert answer.status_code == 200
    assert (echo.got[0]["cine"].source or Source("?")).path == ""


def test_who_has_sent_everything_has_the_answer_at_once() -> None:
    """Nothing more comes then, so that reading on would wait in vain."""
    pieces = iter([{"type": "http.request", "body": b"a", "more_body": more} for more in (1, 0)])

    async def receive() -> Any:
        return next(pieces)

    async def drain() -> None:
        body = LimitedReceive(receive, Limits())
        await body()
        await body.drain()
        await body.drain()

    asyncio.run(drain())
    assert not list(pieces)


def post(served: Service, cine: Path, **settings: int) -> httpx.Response:
    fields = {"cine": (cine.name, cine.read_bytes()), "settings": (None, json.dumps(settings))}
    return asked(served, "POST", "/generate", files=fields)


def test_too_much_is_refused_before_the_work_begins(cine: Path) -> None:
    served, echo = service("frame_prediction", made=1000)
    answer = post(served, cine, frames=2)
    assert answer.status_code == 400
    assert "asks for 4,096 voxels" in answer.json()["problem"]
    assert not echo.got


def test_too_much_that_nobody_could_know_ends_the_answer(cine: Path) -> None:
    served, _ = service("frame_prediction", made=20_000)
    answer = post(served, cine, frames=1, samples=2)
    assert answer.status_code == 200
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        *names, last = tar.getnames()
    assert len(names) == 2
    assert last == "problem.txt"


def test_who_does_not_read_is_given_up(cine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mrgen.service.server._MAX_PAUSE_S", 0.05)
    served, echo = service("frame_prediction")
    settings = (None, json.dumps({"frames": 1, "samples": 100_000}))
    fields = {"cine": (cine.name, cine.read_bytes()), "settings": settings}
    request = httpx.Request("POST", "http://here/generate", files=fields)
    body = [{"type": "http.request", "body": request.read(), "more_body": False}]
    headers = {**request.headers, "authorization": f"Bearer {TOKEN}"}
    scope = {
        "type": "http", "method": "POST", "path": "/generate", "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip

    async def receive() -> Any:
        if body:
            return body.pop()
        await asyncio.Event().wait()

    async def never(_: object) -> None:
        await asyncio.Event().wait()

    asyncio.run(asyncio.wait_for(served(scope, receive, never), 20))
    assert len(echo.got) == 1
    assert served.requests == 0


def test_who_waits_is_sent_away_when_the_service_closes(cine: Path) -> None:
    served, echo = service("frame_prediction")

    async def wait_and_close() -> httpx.Response:
        async with (
            served._turns,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(served), base_url="http://here"
            ) as client,
        ):
            headers = {"Authorization": f"Bearer {TOKEN}"}
            fields = {"cine": (cine.name, cine.read_bytes())}
            waiting = asyncio.create_task(client.post("/generate", headers=headers, files=fields))
            while not served.requests:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            served.close()
            return await waiting

    answer = asyncio.run(asyncio.wait_for(wait_and_close(), 20))
    assert answer.status_code == 503
    assert "shutting down" in answer.json()["problem"]
    assert not echo.got
