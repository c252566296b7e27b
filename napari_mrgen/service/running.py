"""From a model file to a running service, and to its end."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import uvicorn

from napari_mrgen.app.generate import LocalGenerator
from napari_mrgen.errors import MrgenError
from napari_mrgen.service.receiving import Limits
from napari_mrgen.service.server import Service, app
from napari_mrgen.service.turns import Turns

_HURRY_S = 3
"""So much later than what is being made is ended, connections are cut."""


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
    """Seconds that are left at the end to what is being made."""


def serve(settings: Settings, ready: Callable[[Service, str], None]) -> bool:
    """Serve until a signal comes; return whether all work has ended.

    Parameters
    ----------
    ready
        Called with the service and its address once it answers.
    """
    with _bind(settings.host, settings.port) as listening:
        generator = LocalGenerator.load(settings.model, settings.device)
        turns = Turns(settings.at_once, settings.waiting)
        service = Service(generator, settings.token, settings.limits, turns)
        address = _address(settings.host, listening.getsockname()[1])
        server = _Server(service, settings.grace, lambda: ready(service, address))
        server.run(sockets=[listening])
    return not turns.is_working


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(uvicorn.Server):
    """Tells the service of the end when the signal comes, not when all connections are closed."""

    def __init__(self, service: Service, grace: float, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app(service),
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=round(grace + _HURRY_S),
            )
        )
        self._service, self._grace, self._ready = service, grace, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._captured_signals.clear()  # Its end is no failure of the program.
        self._loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        self._service.close()
        self._loop.call_later(self._grace, self._service.end)


def _bind(host: str, port: int) -> socket.socket:
    """Take the address before anything large is loaded."""
    try:
        with ExitStack() as stack:
            family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            found = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(place)
            stack.pop_all()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"The address {host}:{port} cannot be used ({reason}); choose another port or host."
        raise MrgenError(msg) from None
    return found


def _address(host: str, port: int) -> str:
    """Return what clients connect to; of a host that stands for all, this machine's name."""
    if host in ("", "0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
