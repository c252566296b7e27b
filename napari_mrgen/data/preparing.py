"""What a family says while it makes its data ready, before its first stage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preparing:
    """So much of the preparation is done: "Registering sub-01", 1 of 5."""

    title: str
    done: int
    total: int
    """0 where it is not known."""

    @property
    def share(self) -> float | None:
        return self.done / self.total if self.total else None
