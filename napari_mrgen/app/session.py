"""Session: where a training run stands, and what may be asked of it. No Qt, no napari.

A run says what happens by events; `after` folds each into a frozen `RunState`, and the panel shows
the state. What the user asks for goes to the run's `Control`. What runs the events, a thread in the
window or a plain loop in a test, is injected.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial, singledispatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from napari_mrgen.config import Config
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import Family, TrainConfig
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.errors import MrgenError
from napari_mrgen.metrics.scoreboard import Scoreboard
from napari_mrgen.volume import Volume
from napari_mrgen.wording import format_duration

Sources = Mapping[str, tuple[Path | Volume, ...]]
"""What to work on, by role: files and folders, or volumes that stood in the viewer."""


@dataclass(frozen=True)
class TrainRequest:
    """Everything that a training needs, read from the form once, when Train is pressed."""

    family: Family
    config: TrainConfig
    sources: Sources
    run_dir: Path
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True)
class ResumeRequest:
    """A run folder to resume from."""

    run_dir: Path
    device: str = "auto"


Request = TrainRequest | ResumeRequest
Runner = Callable[
    [
        Callable[[], Iterator[Event]],
        Callable[[Event], None],
        Callable[[BaseException | None], None],
    ],
    None,
]
"""Iterates what the first argument makes, hands on each event, and says at the end what failed."""


class Phase(Enum):
    """What a run is doing."""

    IDLE = "idle"
    STARTING = "starting"
    TRAINING = "training"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    FINISHED = "finished"


BUSY = frozenset({Phase.STARTING, Phase.TRAINING, Phase.PAUSING, Phase.PAUSED, Phase.STOPPING})


@dataclass(frozen=True)
class RunState:
    """All that the panel shows about a run."""

    phase: Phase = Phase.IDLE
    run_dir: Path | None = None
    device: str = ""
    stages: tuple[str, ...] = ()
    stage: str = ""
    stage_title: str = ""
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None
    doing: str = ""
    """Work that is not training, while it lasts."""
    doing_share: float | None = None
    """Done share of that work, where it is known."""
    problem: str = ""
    advice: str = ""
    details: str = ""
    can_continue: bool = False
    """Whether the folder holds something to resume from."""
    model: Path | None = None
    scoreboard: Scoreboard = field(default_factory=Scoreboard)

    @property
    def is_busy(self) -> bool:
        return self.phase in BUSY

    @property
    def can_train(self) -> bool:
        return not self.is_busy

    @property
    def can_pause(self) -> bool:
        return self.phase is Phase.TRAINING

    @property
    def can_stop(self) -> bool:
        return self.is_busy and self.phase is not Phase.STOPPING

    @property
    def can_resume(self) -> bool:
        if self.phase in (Phase.STOPPED, Phase.FAILED):
            return self.can_continue
        return self.phase in (Phase.PAUSED, Phase.PAUSING)

    @property
    def fraction(self) -> float | None:
        """Done share of the whole run, stages counted alike; None where it is not known."""
        if self.phase is Phase.FINISHED:
            return 1.0
        if not self.steps or self.stage not in self.stages:
            return None
        done = self.stages.index(self.stage) + self.step / self.steps
        return min(done / len(self.stages), 1.0)

    @property
    def shown_fraction(self) -> float | None:
        """What a bar shows: the share of what is being done now, or of the run."""
        return self.doing_share if self.doing else self.fraction

    @property
    def where(self) -> str:
        """Stage and step, in words."""
        if not self.stage:
            return ""
        title = self.stage_title or self.stage
        if len(self.stages) > 1 and self.stage in self.stages:
            title = f"Stage {self.stages.index(self.stage) + 1} of {len(self.stages)}: {title}"
        return f"{title}, step {self.step:,} of {self.steps:,}"

    @property
    def headline(self) -> str:
        """What is going on, in one line."""
        left = (
            ""
            if self.seconds_left is None
            else f", about {format_duration(self.seconds_left)} left"
        )
        left += " in this stage" if left and len(self.stages) > 1 else ""
        return {
            Phase.IDLE: "Nothing is running.",
            Phase.STARTING: self.doing or "Getting ready…",
            Phase.TRAINING: self.doing or f"{self.where}{left}",
            Phase.PAUSING: "Pausing after this step…",
            Phase.PAUSED: f"Paused. {self.where}",
            Phase.STOPPING: "Stopping: this step is finished and everything is saved…",
            Phase.STOPPED: f"Stopped and saved. {self.where}",
            Phase.FAILED: self.problem,
            Phase.FINISHED: "Finished. The model is trained and saved.",
        }[self.phase].strip()

    @property
    def next_step(self) -> str:
        """What the user can do now."""
        return {
            Phase.IDLE: "Choose what to train on, then press Train.",
            Phase.STARTING: "This takes a few seconds the first time.",
            Phase.TRAINING: "The preview layer shows how far the model is. "
            "You can go on working, pause, or stop and resume later.",
            Phase.PAUSING: "",
            Phase.PAUSED: "Press Resume to go on, or Stop to save and end.",
            Phase.STOPPING: "",
            Phase.STOPPED: "Press Resume to go on from exactly here, or Train to start anew.",
            Phase.FAILED: self.advice or "Change the settings and press Train again.",
            Phase.FINISHED: "Press Generate with this model, or change the settings and train "
            "another.",
        }[self.phase]


# ---------------------------------------------------------------- events change the state


@singledispatch
def after(_event: Event, state: RunState) -> RunState:
    """Return the state after an event; most events change nothing that is shown here."""
    return state


@after.register
def _(event: events.Started, state: RunState) -> RunState:
    # A folder that was moved, or is seen from another machine, is not where the event says.
    run_dir = state.run_dir or Path(event.run_dir)
    return replace(state, run_dir=run_dir, device=event.device, stages=event.stages, doing="")


@after.register
def _(event: events.StageStarted, state: RunState) -> RunState:
    return replace(
        _running(state),
        stage=event.stage,
        stage_title=event.title,
        step=event.step,
        steps=event.steps,
        seconds_left=None,
        doing="",
    )


@after.register
def _(event: events.Progress, state: RunState) -> RunState:
    return replace(state, doing=event.message, doing_share=event.fraction)


@after.register
def _(event: events.Stepped, state: RunState) -> RunState:
    return replace(
        _running(state),
        stage=event.stage,
        step=event.step,
        steps=event.steps,
        seconds_left=event.seconds_left,
        doing="",
    )


@after.register
def _(_event: events.Saved, state: RunState) -> RunState:
    return replace(state, can_continue=True)


@after.register
def _(event: events.Paused, state: RunState) -> RunState:
    if state.phase is not Phase.PAUSING:  # the user has changed their mind in the meantime
        return state
    return replace(state, phase=Phase.PAUSED, step=event.step, seconds_left=None)


@after.register
def _(_event: events.Resumed, state: RunState) -> RunState:
    return replace(state, phase=Phase.TRAINING) if state.phase is Phase.PAUSED else state


@after.register
def _(event: events.Stopped, state: RunState) -> RunState:
    return replace(
        state, phase=Phase.STOPPED, stage=event.stage or state.stage, step=event.step,
        can_continue=True, seconds_left=None, doing="",
    )  # fmt: skip


@after.register
def _(event: events.Failed, state: RunState) -> RunState:
    return replace(
        state, phase=Phase.FAILED, problem=event.message, advice=event.advice,
        details=event.details, seconds_left=None, doing="",
    )  # fmt: skip


@after.register
def _(event: events.Finished, state: RunState) -> RunState:
    model = Path(event.model)
    if state.run_dir is not None:
        model = state.run_dir / model.name
    return replace(
        state, phase=Phase.FINISHED, model=model, scoreboard=event.scoreboard,
        seconds_left=None, doing="",
    )  # fmt: skip


def _running(state: RunState) -> RunState:
    """Leave what the user asked for, a pause or a stop, standing until it has happened."""
    begins = state.phase in (Phase.STARTING, Phase.IDLE)
    return replace(state, phase=Phase.TRAINING) if begins else state


# ---------------------------------------------------------------- what the user asks for


class Session:
    """One run at a time: starts it, follows it, and passes on what the user asks of it.

    Parameters
    ----------
    make_events
        Makes the generator of a run's events; called by the runner, where the work is to be done.
    run
        The runner.
    listen
        Called with the new state and the event that led to it (None for a user's request).
    """

    def __init__(
        self,
        make_events: Callable[[Request, Control], Iterator[Event]],
        run: Runner,
        listen: Callable[[RunState, Event | None], None],
    ) -> None:
        self._make_events, self._run, self._listen = make_events, run, listen
        self._control = Control()
        self.state = RunState()

    def start(self, request: Request) -> None:
        """Start a run in a fresh state.

        Raises
        ------
        MrgenError
            If a run is still going on.
        """
        if self.state.is_busy:
            raise MrgenError("A run is still going on; stop it before you start another.")
        self._control = control = Control()
        can_continue = isinstance(request, ResumeRequest)
        self._set(
            RunState(phase=Phase.STARTING, run_dir=request.run_dir, can_continue=can_continue), None
        )
        self._run(
            lambda: self._make_events(request, control),
            self._on_event,
            partial(self._on_end, control),
        )

    def open(self, run_dir: Path, history: Iterable[Event]) -> None:
        """Show a run of an earlier day; one that was cut off can be resumed.

        Raises
        ------
        MrgenError
            If a run is still going on.
        """
        if self.state.is_busy:
            raise MrgenError("A run is still going on; stop it before you open another.")
        state = RunState(run_dir=run_dir)
        for event in history:
            state = after(event, state)
        if state.is_busy or state.phase is Phase.IDLE:
            state = replace(state, phase=Phase.STOPPED, doing="", seconds_left=None)
        self._set(state, None)

    def pause(self) -> None:
        if self.state.can_pause:
            self._control.pause()
            self._set(replace(self.state, phase=Phase.PAUSING), None)

    def resume(self, device: str = "auto") -> None:
        """Go on after a pause, or start the stopped run again from its folder."""
        if self.state.phase in (Phase.PAUSED, Phase.PAUSING):
            self._control.resume()
            self._set(replace(self.state, phase=Phase.TRAINING), None)
        elif self.state.can_resume and self.state.run_dir is not None:
            self.start(ResumeRequest(self.state.run_dir, device))

    def stop(self) -> None:
        """Ask for the run to be saved and ended."""
        if self.state.can_stop:
            self._set(replace(self.state, phase=Phase.STOPPING), None)
            self._control.stop()

    def _on_event(self, event: Event) -> None:
        self._set(after(event, self.state), event)

    def _on_end(self, control: Control, error: BaseException | None) -> None:
        # The end of a run that was stopped may come when the next one has begun.
        if self.state.is_busy and control is self._control:
            reason = f": {error!r}" if error else ""
            self._on_event(events.Failed(f"The run ended without a word{reason}."))

    def _set(self, state: RunState, event: Event | None) -> None:
        self.state = state
        self._listen(state, event)


# ---------------------------------------------------------------- the report of a problem

_PACKAGES = (
    "napari-mrgen",
    "napari",
    "torch",
    "lightning-fabric",
    "numpy",
    "nibabel",
    "PyQt6",
    "PySide6",
)


def diagnostics(state: RunState, config: Config | None, devices: str) -> str:
    """Return what a report of a problem should hold."""
    where = state.where or "no step yet"
    parts = [
        f"{platform.platform()}, Python {platform.python_version()}",
        ", ".join(f"{name} {number}" for name in _PACKAGES if (number := _version(name))),
        f"Devices: {devices or 'not listed'}",
        f"Run: {state.phase.value}, {where}, on {state.device or 'no device'}",
        f"Run folder: {_without_home(state.run_dir)}",
    ]
    if config is not None:
        parts.append(f"Settings:\n{config.to_yaml()}")
    if state.problem:
        parts.append(f"Problem: {state.problem}\n{state.details}")
    return "\n".join(parts)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _without_home(path: Path | None) -> str:
    """Leave the user's name out of what is posted in public."""
    return str(path or "none").replace(str(Path.home()), "~")
