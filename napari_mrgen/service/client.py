"""The client: a service as the device that generates, with the same results as here.

The address, and what it needs, are read without importing torch.
"""

from __future__ import annotations

import json
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, cast
from urllib.parse import parse_qs, urlsplit

from napari_mrgen import families
from napari_mrgen.app.generate import (
    LocalGenerator,
    Source,
    VolumeGenerator,
    read_inputs,
    sources_of,
)
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import Family, GenerateConfig
from napari_mrgen.engine.run.model_header import hash_file, model_file
from napari_mrgen.errors import MrgenError, need
from napari_mrgen.io.facts import NOTICE
from napari_mrgen.service.wire import SUFFIX, TravelFacts, pack, read_results
from napari_mrgen.volume import Volume
from napari_mrgen.wording import format_size

if TYPE_CHECKING:
    import httpx
    from anyio.from_thread import BlockingPortal

TOKEN = "MRGEN_TOKEN"
"""The environment variable that holds a token, for server and client alike."""

_CONNECT_S, _WRITE_S = 10.0, 60.0
_CHECK_S = 0.2
"""Between two looks at whether to stop."""
_MAX_TRIES, _MAX_WAIT_S = 5, 20.0
"""With a service that is busy."""


def generator_for(model: Path | None, device: str = "auto") -> VolumeGenerator:
    """Return what generates with a model: this machine, or a service where the device is one.

    Without a model of one's own it is the one that the service has.
    """
    if is_address(device):
        return ServiceGenerator.connect(device, model)
    if model is None:
        raise MrgenError("There is no model to use; name a run folder or a .safetensors file.")
    return LocalGenerator.load(model, device)


def is_address(device: str) -> bool:
    """Return whether the name of a device, or of a model, is the address of a service.

    Examples
    --------
    >>> is_address("http://127.0.0.1:8501"), is_address("cuda:0")
    (True, False)
    """
    return device.lower().startswith(("http://", "https://"))


@dataclass(frozen=True)
class Address:
    """An address, and its token, which is in no text that this program writes.

    Examples
    --------
    >>> Address.parse("http://127.0.0.1:8501/?token=secret")
    Address(url='http://127.0.0.1:8501')
    """

    url: str
    token: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``http://host:port``, with ``?token=...`` unless the environment has it."""
        try:
            parts = urlsplit(text.strip())
            port = "" if parts.port is None else f":{parts.port}"
            host = parts.hostname or ""
        except ValueError:
            host = ""
        if not host or parts.scheme not in ("http", "https"):
            shown = text.partition("?")[0]
            msg = f"Expected the address of a service such as http://127.0.0.1:8501, got {shown!r}."
            raise MrgenError(msg)
        token = parse_qs(parts.query).get("token", [os.environ.get(TOKEN, "")])[0]
        if not token.isascii() or not token.isprintable():
            raise MrgenError("The token has letters that no token has; copy it again.")
        host = f"[{host}]" if ":" in host else host
        return cls(f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}", token)

    @property
    def headers(self) -> dict[str, str]:
        """Headers with the token; without one there is none, and the service asks for it."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


@dataclass(frozen=True)
class ServiceGenerator:
    """A service in the place of a `LocalGenerator`."""

    address: Address
    info: Mapping[str, Any]
    """The answer of ``GET /info``."""
    family: Family
    path: Path | None
    """The same model on this machine, if it is there."""

    @classmethod
    def connect(cls, text: str, path: Path | None = None) -> Self:
        """Ask a service what it has; refuse one that has another model than ``path``."""
        address = Address.parse(text)
        info = get_json(f"{address.url}/info", address.headers)
        try:
            family = families.get(str(info["family"]))
            model = dict(info["model"])
            name, served_hash, _ = model["name"], model["sha256"], info["limits"]["upload_bytes"]
        except (KeyError, TypeError, ValueError):
            raise MrgenError(f"{address.url} is not a service of napari-mrgen.") from None
        if path is not None and hash_file(model_file(path)) != served_hash:
            msg = (
                f"The service at {address.url} has another model, {name!r}; choose that one, "
                f"or serve this one there: napari-mrgen serve {path.name}"
            )
            raise MrgenError(msg)
        return cls(address, info, family, path)

    def generate(
        self,
        inputs: Mapping[str, Source],
        config: GenerateConfig | None = None,
        control: Control | None = None,
    ) -> Iterator[Volume]:
        """Yield what the service generates, result by result; see `VolumeGenerator.generate`."""
        self._check_roles(inputs)
        config, control = config or self.family.generate_config(), control or Control()
        volumes = read_inputs(self.family.generate_inputs, inputs)
        record = self.record(config)
        # Where things are on this machine is not known to the service.
        local = {name: record[name] for name in ("model", "service")}
        local["source"] = sources_of(volumes, inputs)
        with tempfile.TemporaryDirectory(prefix="napari-mrgen-") as folder:
            files = {role: Path(folder) / f"{role}{SUFFIX}" for role in volumes}
            facts = {
                role: pack(volume, files[role]).model_dump(mode="json")
                for role, volume in volumes.items()
            }
            self._check_size(files)
            fields = {"settings": config.model_dump_json(), "facts": json.dumps(facts)}
            url = f"{self.address.url}/generate"
            with posted(url, self.address.headers, fields, files, control) as answer:
                try:
                    for volume, result_facts in read_results(cast("IO[bytes]", answer)):
                        yield _returned(volume, result_facts, volumes, local)
                except MrgenError:
                    # An answer that was given up here is cut short.
                    if not control.is_stopped:
                        raise

    def record(self, config: GenerateConfig) -> dict[str, Any]:
        """Return the provenance that all results of these settings share."""
        served, path = self.info["model"], self.path
        return {
            "synthetic": True,
            "notice": NOTICE,
            "family": self.family.name,
            "model": {
                "name": served["name"] if path is None else path.stem,
                "path": self.address.url if path is None else str(path),
                "sha256": served["sha256"],
            },
            "seed": config.seed,
            "configuration": config.model_dump(mode="json"),
            "software": self.info.get("software", ""),
            "service": self.address.url,
        }

    def _check_roles(self, inputs: Mapping[str, Source]) -> None:
        """Refuse what stays on its machine, before it is read."""
        for spec in self.family.generate_inputs:
            if spec.from_file and spec.role in inputs:
                msg = (
                    f"A service takes images, not {spec.title}: generate on the machine where the "
                    "file is, with one of its own devices."
                )
                raise MrgenError(msg)

    def _check_size(self, files: Mapping[str, Path]) -> None:
        limit = int(self.info["limits"]["upload_bytes"])
        size = sum(path.stat().st_size for path in files.values())
        if size > limit:
            msg = (
                f"The input has {format_size(size)}, the service at {self.address.url} takes "
                f"up to {format_size(limit)}: crop it, or start the service with --max-upload."
            )
            raise MrgenError(msg)


def _returned(
    volume: Volume, facts: TravelFacts, inputs: Mapping[str, Volume], local: Mapping[str, Any]
) -> Volume:
    """Give a result the header of its source back, and say what it was made from here."""
    owner = inputs.get(facts.source_of or "")
    source = volume.source if owner is None else owner.source
    return replace(volume, source=source, provenance={**(volume.provenance or {}), **local})


# ---------------------------------------------------------------- requests


def get_json(url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON object that a service answers."""
    httpx = _httpx()
    try:
        answer = httpx.get(url, headers=dict(headers), timeout=_CONNECT_S, **_transport_options())
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _not_reached(url, error) from None
    _check_status(answer, answer.content)
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise MrgenError(f"{_place(url)} is not a service of napari-mrgen.")
    return value


@contextmanager
def posted(
    url: str,
    headers: Mapping[str, str],
    fields: Mapping[str, str],
    files: Mapping[str, Path],
    control: Control,
) -> Iterator[Answer]:
    """Post a form and hand out the answer, to be read while it comes.

    A service that is busy is asked again, when it says.
    """
    httpx = _httpx()
    from anyio import sleep
    from anyio.from_thread import start_blocking_portal

    timeout = httpx.Timeout(_CONNECT_S, read=None, write=_WRITE_S)
    client = httpx.AsyncClient(timeout=timeout, **_transport_options())

    async def post() -> AsyncIterator[bytes]:
        for tries_left in reversed(range(_MAX_TRIES)):
            with ExitStack() as opened:
                # Without a file the fields would not be a form of parts.
                parts: dict[str, Any] = {
                    role: (path.name, opened.enter_context(path.open("rb")))
                    for role, path in files.items()
                }
                parts |= {name: (None, text) for name, text in fields.items()}
                request = client.build_request("POST", url, headers=dict(headers), files=parts)
                answer = await client.send(request, stream=True)
            if answer.status_code == 200:
                pieces: AsyncIterator[bytes] = answer.aiter_raw()
                return pieces
            content = await answer.aread()
            if answer.status_code != 503 or not tries_left:
                _check_status(answer, content)
            await sleep(_seconds_to_wait(answer))
        raise AssertionError  # pragma: no cover

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(client),
    ):
        answer = Answer(portal, control, url)
        answer.pieces = answer.wait_for(post)
        yield answer


@dataclass
class Answer:
    """The body of an answer; it ends early where the control is stopped.

    The request runs in an event loop in another thread, so that it can be cancelled while nothing
    comes; that closes the connection, by which the service knows.
    """

    portal: BlockingPortal
    control: Control
    url: str
    pieces: AsyncIterator[bytes] | None = None
    rest: bytes = b""

    def read(self, size: int) -> bytes:
        """Return what has come, at most so much; nothing at the end."""
        if not self.rest and self.pieces is not None:
            self.rest = self.wait_for(anext, self.pieces, b"") or b""
        piece, self.rest = self.rest[:size], self.rest[size:]
        return piece

    def wait_for(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result of an async function; None where the control is stopped before."""
        httpx = _httpx()
        future = self.portal.start_task_soon(function, *arguments)
        while not self.control.is_stopped:
            try:
                return future.result(_CHECK_S)
            except TimeoutError:
                if future.done():
                    raise
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _not_reached(self.url, error) from None
        future.cancel()
        return None


def _transport_options() -> dict[str, Any]:
    """Return options without a proxy, and with the authorities that this system trusts."""
    return {"trust_env": False, "verify": ssl.create_default_context()}


def _check_status(answer: httpx.Response, content: bytes) -> None:
    """Raise the problem that a service states."""
    if answer.status_code == 200:
        return
    place = _place(str(answer.url))
    try:
        problem = str(json.loads(content)["problem"])
    except (ValueError, TypeError, KeyError):
        msg = f"{place} answers {answer.status_code}: it is not a service of napari-mrgen."
        raise MrgenError(msg) from None
    if answer.status_code == 401:
        msg = (
            f"The service at {place} wants a token: give it as {place}/?token=..., or in the "
            "environment as MRGEN_TOKEN; the service prints it at its start."
        )
        raise MrgenError(msg)
    raise MrgenError(f"The service at {place} says: {problem}")


def _seconds_to_wait(answer: httpx.Response) -> float:
    try:
        return min(float(answer.headers.get("Retry-After", 1)), _MAX_WAIT_S)
    except ValueError:
        return 1.0


def _not_reached(url: str, error: Exception) -> MrgenError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return MrgenError(f"The service at {_place(url)} cannot be reached, or left: {reason}.")


def _place(url: str) -> str:
    """Return an address without the path and what it asks for."""
    return url.partition("?")[0].rsplit("/", 1)[0]


def _httpx() -> Any:
    return need("httpx", "serve", "A service as device")
