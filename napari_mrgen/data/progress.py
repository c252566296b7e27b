"""What a training says while it runs: the base of its events, and the one that data sends too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """Base of all events; the others stand in `napari_mrgen.engine.run.events`."""


@dataclass(frozen=True)
class Progress(Event):
    """Work that is not training, such as preparing data: "Registering sub-01", 1 of 5 done.

    Examples
    --------
    >>> Progress("Registering sub-01", 1, 5).fraction
    0.2
    """

    message: str
    done: float = 0
    total: float = 0
    """0 where it is not known."""

    @property
    def fraction(self) -> float | None:
        return self.done / self.total if self.total else None
