"""The service: one model, loaded once, over HTTP.

``GET /health`` says that it is there; ``GET /info`` what it has; ``POST /generate`` takes a form
with a NIfTI file for each input and gives back a tar of results (`napari_mrgen.service.bundle`),
which grows as they are made. All but ``/health`` want the token. Every other answer is JSON, and
where it is not 200 it has one sentence, ``problem``.

It stands on Starlette and uvicorn: LitServe, which is made for models, reads an upload whole before
it looks at its size, knows no full queue, and loads the model again in each of its processes.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from napari_mrgen import __version__
from napari_mrgen.app.generate import LocalGenerator
from napari_mrgen.app.result_folder import explain_failure
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.failures import is_out_of_memory
from napari_mrgen.engine.family import GenerateConfig, Input
from napari_mrgen.errors import MrgenError
from napari_mrgen.service import bundle
from napari_mrgen.service.feed import Feed
from napari_mrgen.service.leaving import unless_gone
from napari_mrgen.service.receiving import (
    Incoming,
    Limits,
    Upload,
    least_voxels,
    receive,
    volumes_of,
)
from napari_mrgen.service.turns import Refusal, Turns, closing

logger = logging.getLogger(__name__)

_GONE = 499
"""Status, in the log alone, of a request whose client left."""
_UNEXPECTED = 500
_PAUSE_S, _PART = 60.0, 1 << 20
"""So long a client may take to read so much: until then it holds a turn."""


@dataclass
class Service:
    """A model and those who want something of it."""

    generator: LocalGenerator
    token: str
    limits: Limits
    turns: Turns
    feeds: set[Feed] = field(default_factory=set)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What the model can be sent."""
        return tuple(one for one in self.generator.family.generate_inputs if not one.from_file)

    def close(self) -> None:
        """Send away who waits; what is being made may still be finished."""
        self.turns.close()

    def end(self) -> None:
        """End what is being made, too."""
        for feed in tuple(self.feeds):
            feed.end(closing())

    def check_token(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            sentence = "The token is missing or wrong: send the header Authorization: Bearer TOKEN."
            raise Refusal(401, sentence)

    def describe(self) -> dict[str, Any]:
        """Say what a client must know: the model, its inputs and settings, and the limits."""
        family, model = self.generator.family, self.generator.model
        return {
            "software": f"napari-mrgen {__version__}",
            "family": family.name,
            "model": {"name": self.generator.path.stem, "sha256": model.hash},
            "inputs": [one.facts() for one in self.inputs],
            "settings": family.generate_config.model_json_schema(),
            "limits": vars(self.limits),
            "requests": self.turns.inside,
        }

    def results(
        self, upload: Upload, config: GenerateConfig, control: Control
    ) -> Generator[bytes, None, None]:
        """Yield the tar of results piece by piece; once it has begun, a failure is part of it."""
        inputs = volumes_of(upload, self.inputs, self.limits)
        self.limits.check_made(least_voxels(config, inputs))
        number = made = 0
        try:
            for volume in self.generator.generate(inputs, config, control):
                made += volume.array.size
                self.limits.check_made(made)
                number += 1
                yield bundle.members(volume, number, inputs)
        except Exception as error:
            if not number:
                raise
            yield bundle.problem(refusal_for(error).sentence)
        yield bundle.END


def app(service: Service) -> Starlette:
    """Make the ASGI application."""

    async def health(request: Request) -> Response:
        del request
        return JSONResponse({"status": "closing" if service.turns.is_closed else "ok"})

    async def info(request: Request) -> Response:
        service.check_token(request)
        return JSONResponse(service.describe())

    async def generate(request: Request) -> Response:
        service.check_token(request)
        return await _generate(service, request)

    return Starlette(
        routes=[
            Route("/health", _answering(health)),
            Route("/info", _answering(info)),
            Route("/generate", _answering(generate), methods=["POST"]),
        ],
        exception_handlers={404: _unknown, 405: _unknown},
    )


async def _generate(service: Service, request: Request) -> Response:
    """Take a request in, wait for its turn and for its first result; then its answer begins."""
    async with AsyncExitStack() as stack:
        stack.enter_context(service.turns.let_in())
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="napari-mrgen-", ignore_cleanup_errors=True)
        )
        upload = await receive(request, Path(folder), service.inputs, service.limits)
        config = service.generator.family.generate_config.parse(dict(upload.settings))
        control = Control()
        stack.callback(control.stop)
        await unless_gone(request, service.turns.take())
        feed = Feed(lambda: service.results(upload, config, control), control, service.turns.give)
        service.feeds.add(feed)
        stack.callback(service.feeds.discard, feed)
        feed.start()
        first = await unless_gone(request, anext(feed))
        return _Results(first, feed, stack.pop_all())
    raise AssertionError  # pragma: no cover


class _Results(StreamingResponse):
    """Results as they are made; whatever ends it, what the request held is given back."""

    def __init__(self, first: bytes, feed: Feed, stack: AsyncExitStack) -> None:
        super().__init__(_chained(first, feed), media_type=bundle.MEDIA_TYPE)
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_soon(message: Message) -> None:
            await asyncio.wait_for(send(message), _PAUSE_S)

        async with self._stack:
            try:
                await super().__call__(scope, receive, send_soon)
            except TimeoutError:
                logger.info("A client that reads nothing was given up")


async def _chained(first: bytes, feed: Feed) -> AsyncIterator[bytes]:
    """Yield what is made in parts that a slow line, too, takes within `_PAUSE_S`."""
    for part in _parts(first):
        yield part
    try:
        async for piece in feed:
            for part in _parts(piece):
                yield part
    except Refusal as refusal:
        yield bundle.problem(refusal.sentence) + bundle.END


def _parts(piece: bytes) -> Iterator[bytes]:
    return (piece[start : start + _PART] for start in range(0, len(piece), _PART))


def _answering(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Turn whatever goes wrong into one sentence, and write a line for each request."""

    async def answer(request: Request) -> Response:
        start = time.monotonic()
        incoming = Incoming(request.receive)
        try:
            response = await endpoint(Request(request.scope, incoming))
        except ClientDisconnect:
            response = Response(status_code=_GONE)
        except Exception as error:  # noqa: BLE001 - said to the client, details to the log
            response = refused(refusal_for(error))
            await incoming.drain()
        logger.info(
            "%s %s %s %d %.2f s",
            request.client.host if request.client else "-",
            request.method,
            request.url.path,
            response.status_code,
            time.monotonic() - start,
        )
        return response

    return answer


def refusal_for(error: Exception) -> Refusal:
    """Say what went wrong to the client; of what nobody expected the log has the details."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, MrgenError):
        return Refusal(400, str(error))
    if is_out_of_memory(error):
        return Refusal(507, explain_failure(error))
    name = secrets.token_hex(4)
    logger.error("Failure %s", name, exc_info=error)
    return Refusal(_UNEXPECTED, f"The service failed unexpectedly; its log tells of {name}.")


def refused(refusal: Refusal) -> Response:
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"problem": refusal.sentence}, refusal.status, headers)


async def _unknown(request: Request, error: Exception) -> Response:
    del error
    sentence = (
        f"There is no {request.method} {request.url.path}; expected GET /health, GET /info or "
        "POST /generate."
    )
    return refused(Refusal(404, sentence))
