"""What a thread makes, handed to a coroutine piece by piece."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress

from napari_mrgen.engine.control import Control

_AHEAD = 2
"""Pieces that may be made before they are asked for: a slow reader must not fill the memory."""
_LOOK_S = 0.5


class Feed:
    """Iterates a generator in a thread of its own.

    The thread is a daemon: a network cannot be stopped within a step, and must not keep a process
    from ending.

    Parameters
    ----------
    make
        Makes the generator; called in the thread.
    control
        Ends it between two pieces.
    done
        Called in the event loop once the thread has ended, with its seconds.
    """

    def __init__(
        self,
        make: Callable[[], Generator[bytes, None, None]],
        control: Control,
        done: Callable[[float], None],
    ) -> None:
        self._make, self._control, self._done = make, control, done
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._thread = threading.Thread(target=self._run, name="napari-mrgen feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self, error: BaseException | None = None) -> None:
        """Stop the thread when it can be, and whoever waits for a piece now."""
        self._control.stop()
        self._pieces.put_nowait(error)

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._pieces.get()
        if piece is None:
            raise StopAsyncIteration
        if isinstance(piece, BaseException):
            raise piece
        self._room.release()
        return piece

    def _run(self) -> None:
        start = time.monotonic()
        last: BaseException | None = None
        try:
            with closing(self._make()) as pieces:
                for piece in pieces:
                    if not self._is_room():
                        break
                    self._tell(self._pieces.put_nowait, piece)
        except Exception as error:  # noqa: BLE001 - handed on, never lost
            last = error
        self._tell(self._pieces.put_nowait, last)
        self._tell(self._done, time.monotonic() - start)

    def _is_room(self) -> bool:
        while not self._control.is_stopped:
            if self._room.acquire(timeout=_LOOK_S):
                return True
        return False

    def _tell(self, function: Callable[..., None], value: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody is left to be told
            self._loop.call_soon_threadsafe(function, value)
