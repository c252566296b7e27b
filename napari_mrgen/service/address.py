"""Where a service is, and the token that it wants: read without importing more than that needs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, urlsplit

from napari_mrgen.errors import MrgenError

TOKEN = "MRGEN_TOKEN"
"""The environment variable that holds a token, for server and client alike."""


def is_address(device: str) -> bool:
    """Whether the name of a device, or of a model, is the address of a service."""
    return device.lower().startswith(("http://", "https://"))


@dataclass(frozen=True)
class Address:
    """An address, and its token, which is in no text that this program writes."""

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
        """Without a token there is none to send, and the service says that it wants one."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}
