"""Requests to a service that can be given up, with what goes wrong said in one sentence.

A request waits in a thread of its own, so that a stop is heard while nothing comes; its end closes
the connection, and by that the service knows.
"""

from __future__ import annotations

import asyncio
import io
import json
import queue
import ssl
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from napari_mrgen.engine.control import Control
from napari_mrgen.errors import MrgenError
from napari_mrgen.service.extras import need

if TYPE_CHECKING:
    import httpx

_CONNECT_S = 10.0
_LOOK_S = 0.2
_AHEAD = 64
"""Pieces of an answer that wait to be read."""
_MOST_TRIES, _MOST_WAIT_S = 5, 20.0
"""Of a service that is busy."""


def ask(url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON object that a service answers."""
    httpx = _library()
    try:
        answer = httpx.get(url, headers=dict(headers), timeout=_CONNECT_S, **_ways())
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _not_reached(url, error) from None
    _check(answer, answer.content)
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise MrgenError(f"{_place(url)} is no service of napari-mrgen.")
    return value


@contextmanager
def stream(
    url: str,
    headers: Mapping[str, str],
    fields: Mapping[str, str],
    files: Mapping[str, Path],
    control: Control,
) -> Iterator[IO[bytes]]:
    """Post a form and hand out the answer, to be read while it comes.

    It ends early where ``control`` is stopped. A service that is busy is asked again, when it says.
    """
    asked = _Asked(url, headers, fields, files, control)
    asked.start()
    try:
        yield cast("IO[bytes]", asked)
    finally:
        asked.give_up()


class _Asked(io.RawIOBase):
    """An answer, fed by a thread."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        fields: Mapping[str, str],
        files: Mapping[str, Path],
        control: Control,
    ) -> None:
        super().__init__()
        self._url, self._headers, self._fields, self._files = url, headers, fields, files
        self._control = control
        self._pieces: queue.Queue[bytes | BaseException | None] = queue.Queue()
        self._rest = b""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="napari-mrgen ask", daemon=True)

    def start(self) -> None:
        self._task = self._loop.create_task(self._fetch())
        self._thread.start()

    def give_up(self) -> None:
        """Close the connection, if it is still open."""
        with suppress(RuntimeError):  # It has ended by itself.
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def read(self, size: int = -1) -> bytes:
        """Return what has come, at most so much; nothing at the end, or where told to stop."""
        while not self._rest:
            if self._control.is_stopped:
                return b""
            try:
                piece = self._pieces.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if piece is None:
                self._pieces.put(None)
                return b""
            if isinstance(piece, BaseException):
                raise piece
            self._rest = piece
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._task)
            self._pieces.put(None)
        except asyncio.CancelledError:
            self._pieces.put(None)
        except Exception as error:  # noqa: BLE001 - raised where the answer is read
            self._pieces.put(error)
        finally:
            self._loop.close()

    async def _fetch(self) -> None:
        httpx = _library()
        timeout = httpx.Timeout(_CONNECT_S, read=None, write=60.0)
        try:
            async with httpx.AsyncClient(timeout=timeout, **_ways()) as client:
                for tries_left in reversed(range(_MOST_TRIES)):
                    async with AsyncExitStack() as stack:
                        answer = await stack.enter_async_context(self._post(client, stack))
                        if answer.status_code == 503 and tries_left:
                            await answer.aread()
                            await asyncio.sleep(_wait_s(answer))
                            continue
                        await self._take(answer)
                        return
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _not_reached(self._url, error) from None

    def _post(self, client: httpx.AsyncClient, stack: AsyncExitStack) -> Any:
        opened = {
            role: (path.name, stack.enter_context(path.open("rb")))
            for role, path in self._files.items()
        }
        # Without a file the fields would be no form of parts.
        parts: dict[str, Any] = opened or {}
        parts |= {name: (None, text) for name, text in self._fields.items()}
        return client.stream("POST", self._url, headers=dict(self._headers), files=parts)

    async def _take(self, answer: httpx.Response) -> None:
        if answer.status_code != 200:
            _check(answer, await answer.aread())
        pieces: AsyncIterator[bytes] = answer.aiter_raw()
        async for piece in pieces:
            while self._pieces.qsize() > _AHEAD:
                await asyncio.sleep(_LOOK_S / 10)
            if piece:
                self._pieces.put(piece)


def _ways() -> dict[str, Any]:
    """No proxy; who signed is known to this system, as a laboratory's own authority is."""
    return {"trust_env": False, "verify": ssl.create_default_context()}


def _check(answer: httpx.Response, content: bytes) -> None:
    """Raise what the service says is wrong."""
    if answer.status_code == 200:
        return
    place = _place(str(answer.url))
    try:
        said = str(json.loads(content)["problem"])
    except (ValueError, TypeError, KeyError):
        msg = f"{place} answers {answer.status_code}: it is no service of napari-mrgen."
        raise MrgenError(msg) from None
    if answer.status_code == 401:
        msg = (
            f"The service at {place} wants a token: give it as {place}/?token=..., or in the "
            "environment as MRGEN_TOKEN; the service prints it at its start."
        )
        raise MrgenError(msg)
    raise MrgenError(f"The service at {place} says: {said}")


def _wait_s(answer: httpx.Response) -> float:
    try:
        return min(float(answer.headers.get("Retry-After", 1)), _MOST_WAIT_S)
    except ValueError:
        return 1.0


def _not_reached(url: str, error: Exception) -> MrgenError:
    said = " ".join(str(error).split()) or type(error).__name__
    return MrgenError(f"The service at {_place(url)} cannot be reached, or left: {said}.")


def _place(url: str) -> str:
    """Return an address without the path and what it asks for."""
    return url.partition("?")[0].rsplit("/", 1)[0]


def _library() -> Any:
    return need("httpx", "serve", "A service as device")
