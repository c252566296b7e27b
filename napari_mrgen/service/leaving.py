"""Clients that leave: what they have waited for is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def unless_gone(request: Request, wanted: Coroutine[Any, Any, T]) -> T:
    """Wait for something as long as the client does.

    Raises
    ------
    ClientDisconnect
        If the client has left; what it waited for is cancelled.
    """
    work = asyncio.ensure_future(wanted)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return await work
    finally:
        gone.cancel()
        if not work.done():
            work.cancel()
        await asyncio.gather(gone, work, return_exceptions=True)


async def _gone(request: Request) -> None:
    """Return once the client has left; its body has been read to the end."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
