"""The service: one model, loaded once, over HTTP.

``GET /health`` says whether it runs, ``GET /info`` what it offers, ``POST /generate`` takes a form
with a NIfTI file for each input and gives back a tar of results (`napari_mrgen.service.wire`) that
grows as they are generated. All but ``/health`` need the token. Every other answer is JSON, and
where its status is not 200 it has one sentence, ``problem``.

It stands on Starlette and uvicorn. uvicorn's own limit on concurrency refuses without a sentence,
and ``/health`` too; so requests are counted here, and a semaphore lets so many generate at once.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import secrets
import socket
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from napari_mrgen import __version__
from napari_mrgen.app.generate import LocalGenerator
from napari_mrgen.app.result_folder import explain_failure
from napari_mrgen.engine.failures import is_out_of_memory
from napari_mrgen.engine.family import GenerateConfig, Input
from napari_mrgen.errors import MrgenError
from napari_mrgen.service import wire
from napari_mrgen.service.upload import LimitedReceive, Limits, Upload, least_voxels, save_upload

logger = logging.getLogger(__name__)

_CLIENT_LEFT = 499
"""Status, in the log alone, of a request whose client left before an answer began."""
_MAX_PAUSE_S, _PART_BYTES = 60.0, 1 << 20
"""A client that takes longer to read such a part is given up, since it holds up the others."""
_CUT_S = 3
"""Connections are cut so much later than generation is ended."""


@dataclass
class Service:
    """A model, and the requests for it; all but `_results` is used in the event loop alone.

    Parameters
    ----------
    at_once
        Requests that generate at once.
    waiting
        Requests that may wait for their turn, those that are still being uploaded among them.
    """

    generator: LocalGenerator
    token: str
    limits: Limits = field(default_factory=Limits)
    at_once: int = 2
    waiting: int = 64
    requests: int = 0
    """Requests that were let in and have not ended."""
    is_closing: bool = False
    """Whether no request may begin to generate any more."""
    is_over: bool = False
    """Whether those that generate end after their present result, too."""
    _mean_s: float = 1.0
    """Running mean of how long a request generates."""

    def __post_init__(self) -> None:
        self._turns = asyncio.Semaphore(self.at_once)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Inputs that a client can send."""
        return tuple(one for one in self.generator.family.generate_inputs if not one.from_file)

    def info(self) -> dict[str, Any]:
        """Return what a client must know: the model, its inputs and settings, and the limits."""
        family = self.generator.family
        return {
            "software": f"napari-mrgen {__version__}",
            "family": family.name,
            "model": {"name": self.generator.path.stem, "sha256": self.generator.model.hash},
            "inputs": [one.facts() for one in self.inputs],
            "settings": family.generate_config.model_json_schema(),
            "limits": vars(self.limits),
            "requests": self.requests,
        }

    def close(self) -> None:
        """Send away the requests that wait; those that generate may finish."""
        self.is_closing = True
        for _ in range(self.requests):
            self._turns.release()  # They wake up, and see that it is closing.

    def end(self) -> None:
        """End the requests that generate, too, after their present result."""
        self.is_over = True

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Count a request while it is here; refuse it where there are too many."""
        if self.is_closing:
            raise _closing()
        if self.requests >= self.at_once + self.waiting:
            seconds = round(min(max(self._mean_s / self.at_once, 1), 300))
            sentence = f"The service is busy: {self.requests} requests are in it; try again later."
            raise HTTPException(503, sentence, {"Retry-After": str(seconds)})
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    async def generate(self, upload: Upload, config: GenerateConfig) -> AsyncGenerator[bytes, None]:
        """Yield the tar of results; once it has begun, a failure is its last member.

        Each result is generated in a thread. A cancelled request waits for that thread, so that its
        turn is not given to another one before.
        """
        async with self._turns:
            if self.is_closing:
                raise _closing()
            start = time.monotonic()
            results = self._results(upload, config)
            has_begun = False
            try:
                while (result := await run_in_threadpool(next, results, None)) is not None:
                    for place in range(0, len(result), _PART_BYTES):
                        yield result[place : place + _PART_BYTES]
                    has_begun = True
                    if self.is_over:
                        raise _closing()
            except Exception as error:
                if not has_begun:
                    raise
                yield wire.problem_member(_refusal(error).detail)
            finally:
                self._mean_s += 0.3 * (time.monotonic() - start - self._mean_s)
            yield wire.END

    def _results(self, upload: Upload, config: GenerateConfig) -> Iterator[bytes]:
        inputs = upload.read(self.inputs, self.limits)
        self.limits.check_made(least_voxels(config, inputs))
        voxels = 0
        for number, volume in enumerate(self.generator.generate(inputs, config), 1):
            voxels += volume.array.size
            self.limits.check_made(voxels)
            yield wire.result_members(volume, number, inputs)

    # ------------------------------------------------------------ as an ASGI application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever goes wrong, and write a line about it into the log."""
        start, status = time.monotonic(), _CLIENT_LEFT
        body = LimitedReceive(receive, self.limits)

        async def send_soon(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await asyncio.wait_for(send(message), _MAX_PAUSE_S)

        request = Request(scope, body)
        try:
            await self._answer(request, body, send_soon)
        except ClientDisconnect:
            pass
        except Exception as error:  # noqa: BLE001 - said to the client, details to the log
            if status == _CLIENT_LEFT:
                await body.drain()
                refusal = _refusal(error)
                answer = JSONResponse(
                    {"problem": refusal.detail}, refusal.status_code, refusal.headers
                )
                await answer(scope, body, send_soon)
            else:
                logger.info("A client that reads nothing was given up")
        client = request.client.host if request.client else "-"
        line = (client, request.method, request.url.path, status, time.monotonic() - start)
        logger.info("%s %s %s %d %.2f s", *line)

    async def _answer(self, request: Request, body: LimitedReceive, send: Send) -> None:
        match request.method, request.url.path:
            case "GET" | "HEAD", "/health":
                state = {"status": "closing" if self.is_closing else "ok"}
                await JSONResponse(state)(request.scope, body, send)
            case "GET" | "HEAD", "/info":
                self._check_token(request)
                await JSONResponse(self.info())(request.scope, body, send)
            case "POST", "/generate":
                self._check_token(request)
                body.check_length(request.headers.get("content-length", ""))
                with tempfile.TemporaryDirectory(
                    prefix="napari-mrgen-", ignore_cleanup_errors=True
                ) as folder:
                    async with self.admitted():
                        upload = await save_upload(request, Path(folder), self.inputs)
                        config = self.generator.family.generate_config.parse(dict(upload.settings))
                        async with aclosing(self.generate(upload, config)) as results:
                            # Before 2.4 Starlette looks for the end of the connection all the time.
                            scope = {**request.scope, "asgi": {"spec_version": "2.3"}}
                            await _Results(results)(scope, body, send)
            case method, path:
                sentence = (
                    f"There is no {method} {path}; expected GET /health, GET /info or "
                    "POST /generate."
                )
                raise HTTPException(404, sentence)

    def _check_token(self, request: Request) -> None:
        header = request.headers.get("authorization", "")
        if not hmac.compare_digest(header.encode(), f"Bearer {self.token}".encode()):
            sentence = "The token is missing or wrong: send the header Authorization: Bearer TOKEN."
            raise HTTPException(401, sentence, {"WWW-Authenticate": "Bearer"})


class _Results(StreamingResponse):
    """Results as they are generated; it ends where the client leaves.

    It begins with the first result: what fails before is an answer with a status of its own.
    """

    def __init__(self, results: AsyncIterator[bytes]) -> None:
        super().__init__(results, media_type=wire.MEDIA_TYPE)

    async def stream_response(self, send: Send) -> None:
        results = aiter(self.body_iterator)
        first = await anext(results)

        async def all_of_them() -> AsyncIterator[Any]:
            yield first
            async for part in results:
                yield part

        self.body_iterator = all_of_them()
        await super().stream_response(send)


def _refusal(error: Exception) -> HTTPException:
    """Say what went wrong to the client; of what nobody expected the log has the details."""
    if isinstance(error, HTTPException):
        return error
    if isinstance(error, MrgenError):
        return HTTPException(400, str(error))
    if is_out_of_memory(error):
        return HTTPException(507, explain_failure(error))
    name = secrets.token_hex(4)
    logger.error("Failure %s", name, exc_info=error)
    return HTTPException(500, f"The service failed unexpectedly; look for {name} in its log.")


def _closing() -> HTTPException:
    sentence = "The service is shutting down; try again later."
    return HTTPException(503, sentence, {"Retry-After": "5"})


# ---------------------------------------------------------------- from a model file to its end


@dataclass(frozen=True)
class Settings:
    """Where and how a model is served."""

    model: Path
    token: str
    host: str = "127.0.0.1"
    port: int = 8501
    device: str = "auto"
    limits: Limits = field(default_factory=Limits)
    at_once: int = 2
    waiting: int = 64
    grace: float = 8.0
    """Seconds that requests have to finish when a signal ends the service."""


def serve(settings: Settings, ready: Callable[[Service, str], None]) -> None:
    """Serve until a signal comes. A network that still runs then is in a thread that goes on.

    Parameters
    ----------
    ready
        Called with the service and its address once clients can connect.
    """
    with _bind(settings.host, settings.port) as listening:
        generator = LocalGenerator.load(settings.model, settings.device)
        service = Service(
            generator, settings.token, settings.limits, settings.at_once, settings.waiting
        )
        listening.listen()
        ready(service, address_of(settings.host, listening.getsockname()[1]))
        _Server(service, settings.grace).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Tells the service of the end before it waits for the connections to close."""

    def __init__(self, service: Service, grace: float) -> None:
        super().__init__(
            uvicorn.Config(
                service,
                interface="asgi3",
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=round(grace + _CUT_S),
            )
        )
        self._service, self._grace = service, grace

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._captured_signals.clear()  # Its end is not a failure of the program.

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.close()
        asyncio.get_running_loop().call_later(self._grace, self._service.end)
        await super().shutdown(sockets)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_of(host: str, port: int) -> str:
    """Return what clients connect to; for a host that stands for all, this machine's name."""
    if host in ("", "0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bind(host: str, port: int) -> socket.socket:
    """Take the address before anything large is loaded."""
    try:
        with ExitStack() as stack:
            family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listening = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            stack.pop_all()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"The address {host}:{port} cannot be used ({reason}); choose another port or host."
        raise MrgenError(msg) from None
    return listening
