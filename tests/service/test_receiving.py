"""What a service takes in and what it does not, without a process and a network of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import h5py
import httpx
import numpy as np
import pytest

from napari_mrgen import families
from napari_mrgen.app.predict import Maker
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.service.address import Address
from napari_mrgen.service.client import ServiceMaker
from napari_mrgen.service.receiving import Incoming, Limits
from napari_mrgen.service.server import Service, app
from napari_mrgen.service.turns import Turns
from napari_mrgen.volume import Volume

TOKEN = "secret"


class Echo:
    """Gives back what it gets, in the place of a model."""

    def __init__(self, family: str) -> None:
        self.family, self.path = families.get(family), Path("model")
        self.model = SimpleNamespace(hash="0")
        self.got: list[Mapping[str, Volume]] = []

    def make(self, inputs: Mapping[str, Volume], *_: object) -> Iterator[Volume]:
        self.got.append(inputs)
        yield from inputs.values()


def service(family: str, **limits: int) -> tuple[Service, Echo]:
    echo = Echo(family)
    return Service(cast("Maker", echo), TOKEN, Limits(**limits), Turns(1, 1)), echo


def asked(served: Service, method: str, path: str, **options: Any) -> httpx.Response:
    """Ask a service in this process."""

    async def ask() -> httpx.Response:
        way = httpx.ASGITransport(app(served))
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
    assert (echo.got[0]["cine"].source or {})["path"] == ""


def test_who_has_sent_everything_has_the_answer_at_once() -> None:
    """Nothing more comes then, so that reading on would wait in vain."""
    pieces = iter([{"type": "http.request", "body": b"a", "more_body": more} for more in (1, 0)])

    async def receive() -> Any:
        return next(pieces)

    async def drain() -> None:
        incoming = Incoming(receive)
        await incoming()
        await incoming.drain()
        await incoming.drain()

    asyncio.run(drain())
    assert not list(pieces)


def test_a_client_refuses_kspace_before_it_reads_it(tmp_path: Path) -> None:
    maker = ServiceMaker(Address("http://here", ""), {}, families.get("reconstruction"), None)
    with pytest.raises(MrgenError, match="on the machine where the file is"):
        next(maker.make({"kspace": tmp_path / "nowhere.h5"}))
