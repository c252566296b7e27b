"""Who may generate now: first come, first served, and no more wait than there is room for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Refusal(Exception):  # noqa: N818 - it says what is done, not what is wrong
    """A request that is not served: the HTTP status, one sentence, and when to come again (s)."""

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after


def closing() -> Refusal:
    return Refusal(503, "The service is shutting down; try again later.", 5)


class Turns:
    """The desk and the queue before it; used in the event loop alone.

    Parameters
    ----------
    at_once
        Requests that are worked on at once.
    waiting
        Requests that may wait for their turn, those that are still being uploaded among them.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._free, self._at_once, self._most = at_once, at_once, at_once + waiting
        self._line: deque[asyncio.Future[None]] = deque()
        self._seconds = 1.0
        self.inside = 0
        """Requests that were let in and have not gone."""
        self.is_closed = False

    @contextmanager
    def let_in(self) -> Iterator[None]:
        """Hold a place; refuse where none is left."""
        if self.is_closed:
            raise closing()
        if self.inside >= self._most:
            sentence = f"The service is busy: {self.inside} requests are in it; try again later."
            raise Refusal(503, sentence, self.seconds_to_wait)
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def take(self) -> None:
        """Wait for a turn, which lasts until `give`."""
        if self.is_closed:
            raise closing()
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give()
            raise

    def give(self, seconds: float | None = None) -> None:
        """End a turn; ``seconds`` is how long it was."""
        if seconds is not None:
            self._seconds += 0.3 * (seconds - self._seconds)
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def close(self) -> None:
        """Send away all who wait, and let nobody in."""
        self.is_closed = True
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_exception(closing())

    @property
    def is_working(self) -> bool:
        return self._free < self._at_once

    @property
    def seconds_to_wait(self) -> int:
        """After about how long there will be room, from how long the last turns were."""
        return round(min(max(self._seconds / self._at_once, 1), 300))
