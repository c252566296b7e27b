"""Build networks from a seed, although `torch.nn` draws weights from the global generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class DrawingFrom(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within this context, this thread's draws on the CPU come from ``generator``.

    The global generator is neither read nor moved, so other threads cannot change what is built.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = generator

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        drawing = _drawing_form(func)
        if drawing is not None and kwargs.get("generator") is None:
            return drawing(*args, **{**kwargs, "generator": self._generator})
        return func(*args, **kwargs)


def _drawing_form(func: Any) -> Callable[..., Any] | None:
    """Return the overload that takes a generator; None for an operation that does not draw."""
    if any(argument.name == "generator" for argument in func._schema.arguments):
        return func  # type: ignore[no-any-return]
    name = "" if func._overloadname == "default" else f"{func._overloadname}_"
    if f"{name}generator" not in func.overloadpacket.overloads():
        return None
    return getattr(func.overloadpacket, f"{name}generator")  # type: ignore[no-any-return]
