"""A real server process: what it gives is what is made here, and nothing brings it down."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from napari_mrgen import families
from napari_mrgen.app.generate import Source, VolumeGenerator, generate
from napari_mrgen.cli.main import main
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import GenerateConfig
from napari_mrgen.errors import MrgenError
from napari_mrgen.io import nifti
from napari_mrgen.service.client import generator_for
from napari_mrgen.volume import Volume
from tests.service.conftest import Served, serving

FAMILY = families.get("frame_prediction")
SHORT = FAMILY.generate_config.parse({"frames": 2})
MANY = 50


def form(cine: Path, **settings: object) -> dict[str, tuple[str | None, bytes]]:
    fields: dict[str, tuple[str | None, bytes]] = {"cine": (cine.name, cine.read_bytes())}
    return {**fields, "settings": (None, json.dumps({"frames": 2, **settings}).encode())}


def post(served: Served, **changes: object) -> httpx.Response:
    options = {"headers": served.headers, "timeout": 240.0, **changes}
    return httpx.post(f"{served.url}/generate", **options)  # type: ignore[arg-type]


def assert_alive(served: Served) -> None:
    assert httpx.get(f"{served.url}/health", timeout=60).json() == {"status": "ok"}
    assert served.process.poll() is None


def content(path: Path) -> tuple[object, ...]:
    """Return all that a file holds but its provenance, which says when it was made."""
    volume = nifti.read(path)
    array, affine = volume.array.tobytes(), volume.affine.tobytes()
    return array, affine, volume.axes, volume.times, volume.subject, volume.participant


def assert_law(one: Volume, other: Volume) -> None:
    """Served equals local: the arrays, the affines, and what is said of them."""
    # Sums differ in the last digit where processes have other numbers of threads.
    np.testing.assert_allclose(one.array, other.array, rtol=0, atol=1e-5 * np.ptp(other.array))
    assert one.array.dtype == other.array.dtype
    np.testing.assert_array_equal(one.affine, other.affine)
    for name in ("axes", "kind", "name", "subject", "times", "source"):
        assert getattr(one, name) == getattr(other, name), name
    record, known = dict(one.provenance or {}), dict(other.provenance or {})
    record.pop("service")
    for told in (record, known):
        told.pop("created")
    assert record == known


def test_served_is_local(served: Served, cine: Path) -> None:
    generator = generator_for(served.model, served.address)
    scan = nifti.read(cine)
    kinds: list[tuple[Source, GenerateConfig]] = [
        (cine, SHORT),
        (replace(scan, array=scan.array.astype(np.float64) / 3, source=None), SHORT),
        (replace(scan, name="caf\udce9", subject="\udcd0\n"), SHORT),  # Not UTF-8 on the disk.
        (cine, SHORT.with_values({"samples": 2, "seed": 4, "include_context": True})),
    ]
    for source, config in kinds:
        here = list(generate(served.model, {"cine": source}, config, device="cpu"))
        there = list(generator.generate({"cine": source}, config))
        assert len(here) == len(there)
        for one, other in zip(there, here, strict=True):
            assert_law(one, other)


def test_the_command_line_uses_it(
    served: Served, cine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["--input", f"cine={cine}", "--set", "frames=2", "--out"]
    for model, name in ((served.model, "one"), (served.address, "two")):
        device = [] if model == served.address else ["--device", served.address]
        out = tmp_path / f"{name}.nii.gz"
        assert main(["generate", str(model), *wanted, str(out), *device]) == 0
    assert main(["generate", str(served.model), *wanted, str(tmp_path / "three.nii.gz")]) == 0
    one, two, three = (content(tmp_path / f"{name}.nii.gz") for name in ("one", "two", "three"))
    assert one == two == three
    record = json.loads((tmp_path / "one.json").read_text())
    assert record["source"]["cine"]["path"] == str(cine)
    everything = capsys.readouterr().out + (tmp_path / "two.json").read_text()
    assert served.token not in everything


def test_a_folder_goes_through_it(served: Served, cine: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nii.gz").write_bytes(cine.read_bytes())
    (tmp_path / "in" / "broken.nii").write_bytes(b"broken")
    arguments = ["generate", str(served.model), "--input", f"cine={tmp_path / 'in'}"]
    options = ["--set", "frames=2", "--device", served.address, "--out", str(tmp_path / "out")]
    assert main([*arguments, *options]) == 1
    assert [path.name for path in (tmp_path / "out").glob("*.nii.gz")] == ["a-predicted.nii.gz"]


def test_curl_is_enough(served: Served, cine: Path) -> None:
    answer = post(served, files=form(cine))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        names = tar.getnames()
    assert names == ["00001-heart-predicted.json", "00001-heart-predicted.nii.gz"]
    told = httpx.get(f"{served.url}/info", headers=served.headers).json()
    assert told["family"] == "frame_prediction"
    assert told["inputs"][0]["role"] == "cine"
    assert "frames" in told["settings"]["properties"]


def test_fifty_at_once(served: Served, cine: Path, tmp_path: Path) -> None:
    fields = form(cine)

    async def all_of_them() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=280, limits=limits) as client:
            url = f"{served.url}/generate"
            asked = [client.post(url, headers=served.headers, files=fields) for _ in range(MANY)]
            return await asyncio.gather(*asked)

    answers = asyncio.run(all_of_them())
    assert [answer.status_code for answer in answers] == [200] * MANY
    images = set()
    for answer in answers:
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
            (name,) = (name for name in tar.getnames() if name.endswith(".nii.gz"))
            file = tar.extractfile(name)
            assert file is not None
            (tmp_path / "image.nii.gz").write_bytes(file.read())
            images.add(content(tmp_path / "image.nii.gz"))
    assert len(images) == 1
    assert_alive(served)


@pytest.mark.parametrize("given", ["", "Bearer wrong", "Bearer", "Basic abc", "Bearer é"])
def test_a_wrong_token_gets_nothing(served: Served, cine: Path, given: str) -> None:
    headers = {"Authorization": given.encode()} if given else {}
    for method, path in (("GET", "/info"), ("POST", "/generate")):
        answer = httpx.request(
            method, f"{served.url}{path}", headers=headers, content=b"x" * 300_000, timeout=60
        )
        assert answer.status_code == 401
        assert "token" in answer.json()["problem"]
    assert_alive(served)


@pytest.mark.parametrize("query", ["/?token=wrong", "/?token=", ""])
def test_a_wrong_token_is_said_in_one_sentence(served: Served, query: str) -> None:
    with pytest.raises(MrgenError, match=r"wants a token.*MRGEN_TOKEN"):
        generator_for(served.model, f"{served.url}{query}")


def test_uploads_that_are_too_large(served: Served, cine: Path, tmp_path: Path) -> None:
    large = {"cine": ("big.nii", b"\0" * (3 << 20))}
    answer = post(served, files=large)
    assert answer.status_code == 413
    assert "1 MiB" in answer.json()["problem"]

    def endless() -> object:  # without a Content-Length
        yield b'--b\r\nContent-Disposition: form-data; name="cine"; filename="a.nii"\r\n\r\n'
        for _ in range(48):
            yield b"\0" * (1 << 16)

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = post(served, content=endless(), headers={**served.headers, **kind})
    assert answer.status_code == 413

    # Small when it is sent, and large when it is opened.
    bomb = Volume(np.zeros((210, 2, 32, 32), np.uint8), "tzyx", np.eye(4))
    nifti.write(bomb, tmp_path / "bomb.nii.gz")
    answer = post(served, files=form(tmp_path / "bomb.nii.gz"))
    assert answer.status_code == 400
    assert "430,080 voxels" in answer.json()["problem"]
    noise = np.random.default_rng(0).normal(size=(8, 2, 200, 200))
    results = generator_for(served.model, served.address).generate(
        {"cine": Volume(noise, "tzyx", np.eye(4))}, SHORT
    )
    with pytest.raises(MrgenError, match="takes up to 1"):
        next(results)
    assert_alive(served)


BAD_FORMS = {
    "no form": ({"content": b"hello"}, 415),
    "empty": ({"files": {"settings": (None, b"{}")}}, 400),
    "not a NIfTI": ({"files": {"cine": ("a.nii.gz", b"garbage" * 99)}}, 400),
    "a role that is not": ({"files": {"t1": ("a.nii.gz", b"x")}}, 400),
    "no file": ({"files": {"cine": (None, b"text")}}, 400),
    "settings": ({"files": {"settings": (None, b"[1]")}}, 400),
    "deep settings": ({"files": {"settings": (None, b"[" * 100_000)}}, 400),
    "a setting that is not": ({"files": {"settings": (None, b'{"frmes": 3}')}}, 400),
    "facts": ({"files": {"facts": (None, b'{"cine": {"axes": "zyx"}}')}}, 400),
    "many fields": ({"files": [("settings", (None, b"{}"))] * 99}, 400),
}


@pytest.mark.parametrize("kind", BAD_FORMS)
def test_a_bad_form_is_said_in_one_sentence(served: Served, kind: str) -> None:
    options, status = BAD_FORMS[kind]
    answer = post(served, **options)
    assert answer.status_code == status
    problem = answer.json()["problem"]
    assert problem.endswith((".", "?"))
    assert "Traceback" not in answer.text
    assert "/" not in problem.replace("multipart/form-data", "")


def test_files_that_are_cut_short_or_damaged(served: Served, cine: Path) -> None:
    whole = cine.read_bytes()
    for cut in (1, 200, len(whole) // 2):
        answer = post(served, files={"cine": ("a.nii.gz", whole[:cut])})
        assert answer.status_code == 400, cut
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 0xFF
    assert post(served, files={"cine": ("a.nii.gz", bytes(broken))}).status_code == 400
    assert_alive(served)


def test_uploads_that_break_off(served: Served, cine: Path) -> None:
    request = httpx.Request(
        "POST", f"{served.url}/generate", headers=served.headers, files=form(cine)
    )
    body = request.read()
    head = "POST /generate HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in request.headers.items()
    )
    parts = urlsplit(served.url)
    place = (parts.hostname or "", parts.port or 0)
    for cut in (0, 10, len(body) // 2, len(body) - 3):
        with socket.create_connection(place) as connection:
            connection.sendall(f"{head}\r\n".encode() + body[:cut])
    # A form whose end is missing, although nothing is: only what came whole is taken.
    short = body[: len(body) // 2]
    kind = {"Content-Type": request.headers["content-type"]}
    answer = post(served, content=short, headers={**served.headers, **kind})
    assert answer.status_code == 400
    assert_alive(served)


def test_what_is_not_there(served: Served) -> None:
    for method, path in (("GET", "/"), ("GET", "/generate"), ("PUT", "/info"), ("GET", "/../etc")):
        answer = httpx.request(method, f"{served.url}{path}", headers=served.headers)
        assert answer.status_code == 404
        assert "expected GET /health" in answer.json()["problem"]


def is_idle(served: Served) -> bool:
    told = httpx.get(f"{served.url}/info", headers=served.headers, timeout=60).json()
    return int(told["requests"]) == 0


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_client_that_goes_away_is_given_up(served: Served, cine: Path) -> None:
    long = form(cine, samples=5000)
    with (
        httpx.Client(timeout=120) as client,
        client.stream("POST", f"{served.url}/generate", headers=served.headers, files=long) as a,
    ):
        pieces = a.iter_raw()
        next(pieces)
        assert not is_idle(served)
    wait_until(lambda: is_idle(served))
    assert_alive(served)


def test_a_stop_is_heard_while_nothing_comes(served: Served, cine: Path) -> None:
    control = Control()
    generator = generator_for(served.model, served.address)
    long = SHORT.with_values({"frames": 500, "cycle": 0})
    stopped: list[float] = []

    def stop() -> None:
        wait_until(lambda: not is_idle(served))
        stopped.append(time.monotonic())
        control.stop()

    threading.Thread(target=stop).start()
    assert list(generator.generate({"cine": cine}, long, control)) == []
    assert time.monotonic() - stopped[0] < 5
    wait_until(lambda: is_idle(served))


def test_another_model_is_refused(
    served: Served, models: Callable[[str], Path], cine: Path
) -> None:
    with pytest.raises(MrgenError, match="has another model, 'frame_prediction'"):
        generator_for(models("dcgan"), served.address)


def test_nobody_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(MrgenError, match=f"127.0.0.1:{port} cannot be reached"):
        generator_for(None, f"http://127.0.0.1:{port}")
    with pytest.raises(MrgenError, match="Expected the address"):
        generator_for(None, "http://")


def full_then_ended(models: Callable[[str], Path], cine: Path) -> tuple[Served, list[object]]:
    """Fill a small service, ask once more, and end it while it works."""
    answers: list[object] = []
    with serving(models("frame_prediction"), "--at-once", 1, "--waiting", 1) as small:
        generator: VolumeGenerator = generator_for(small.model, small.address)

        def ask() -> None:
            try:
                config = SHORT.with_values({"samples": 100_000})
                answers.append(sum(1 for _ in generator.generate({"cine": cine}, config)))
            except MrgenError as error:
                answers.append(str(error))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        url = f"{small.url}/info"
        wait_until(lambda: httpx.get(url, headers=small.headers).json()["requests"] == 2)
        refused = post(small, files=form(cine))
        answers.append((refused.status_code, int(refused.headers["Retry-After"]), refused.json()))
        small.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
        assert small.process.wait(60) == 0
        answers.append(small.log.read_text())
        return small, answers


def test_a_full_service_says_when_to_come_again_and_ends_while_busy(
    models: Callable[[str], Path], cine: Path
) -> None:
    _, answers = full_then_ended(models, cine)
    status, seconds, told = next(one for one in answers if isinstance(one, tuple))
    assert (status, seconds >= 1) == (503, True)
    assert "busy" in told["problem"]
    *problems, log = (one for one in answers if isinstance(one, str))
    assert len(problems) == 2
    assert all("shutting down" in one or "left" in one for one in problems), problems
    assert "Traceback" not in log
