"""What a run says while it runs: small frozen values, the same in process and from the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from napari_mrgen.data.progress import Event as Event
from napari_mrgen.data.progress import Progress as Progress
from napari_mrgen.metrics.scoreboard import Scoreboard


@dataclass(frozen=True)
class Started(Event):
    """The run has its folder and its device."""

    run_dir: str
    family: str
    device: str
    stages: tuple[str, ...]
    resumed: bool = False


@dataclass(frozen=True)
class StageStarted(Event):
    stage: str
    title: str
    step: int
    steps: int


@dataclass(frozen=True)
class Stepped(Event):
    """Mean losses since the last such event."""

    stage: str
    step: int
    steps: int
    losses: Mapping[str, float]
    seconds_per_step: float
    seconds_left: float
    """Time that is left of this stage."""


@dataclass(frozen=True)
class Evaluated(Event):
    stage: str
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Previewed(Event):
    """Volumes were written under the run folder; `folder.read_preview` reads them."""

    stage: str
    step: int
    paths: tuple[str, ...]
    """Relative to the run folder."""
    names: tuple[str, ...] = ()
    """What each volume shows."""
    windows: tuple[Sequence[float] | None, ...] = ()
    """Intensities shown as black and as white, None where they follow the values; on both sides of
    0 those of a difference."""


@dataclass(frozen=True)
class Saved(Event):
    stage: str
    step: int
    path: str


@dataclass(frozen=True)
class Warned(Event):
    message: str


@dataclass(frozen=True)
class Paused(Event):
    stage: str
    step: int


@dataclass(frozen=True)
class Resumed(Event):
    stage: str
    step: int


@dataclass(frozen=True)
class Stopped(Event):
    """The run was asked to stop, saved everything and can be resumed."""

    stage: str
    step: int


@dataclass(frozen=True)
class Failed(Event):
    """The run ended by an error: a plain sentence, what to do, and the details for a report."""

    message: str
    advice: str = ""
    details: str = ""


@dataclass(frozen=True)
class Finished(Event):
    """All stages are trained; ``model`` is the file to generate with."""

    model: str
    scoreboard: Scoreboard = field(default_factory=Scoreboard)
