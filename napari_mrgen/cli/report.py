"""How a run's events are shown: bars on a terminal, lines in a pipe, JSON for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from napari_mrgen.cli.options import print_json
from napari_mrgen.cli.tables import scoreboard_lines
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.journal import write_event

if TYPE_CHECKING:
    from rich.progress import Progress as ProgressBars
    from rich.progress import TaskID

    from napari_mrgen.engine.family import Survey

SECONDS_BETWEEN_LINES = 10.0


class Reporter(Protocol):
    def __call__(self, event: Event) -> None: ...


def report(source: Iterator[Event], *, as_json: bool) -> Event | None:
    """Show events as they come; return the last one."""
    last: Event | None = None
    with reporter(as_json=as_json) as show:
        for event in source:
            show(event)
            last = event
    return last


def surveyed(source: Iterator[Progress | Survey]) -> Survey | None:
    """Return the table that ends a survey, saying on stderr how far it is; None without any."""
    is_terminal = sys.stderr.isatty()
    for item in source:
        if not isinstance(item, Progress):
            return item
        line = f"{item.message} ({item.done + 1:.0f} of {item.total:.0f})"
        print(f"\r\x1b[K{line}" if is_terminal else line, end="" if is_terminal else "\n",
              file=sys.stderr, flush=True)  # fmt: skip
        if is_terminal and item.done + 1 == item.total:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return None


@contextmanager
def reporter(*, as_json: bool) -> Iterator[Reporter]:
    """Hand out what shows events where they are to be seen."""
    if as_json:
        yield _print_event
    elif sys.stdout.isatty():
        with _progress() as progress:
            yield Bars(progress)
    else:
        yield Lines()


def exit_code(last: Event | None, run_dir: Path, of_signal: int = 0) -> int:
    """Return the program's exit code for a run's last event; a failure is said on stderr."""
    if isinstance(last, events.Failed):
        where = f"Details are in {run_dir / 'events.jsonl'}." if last.details else ""
        sentence = " ".join(f"{last.message} {last.advice} {where}".split())
        print(f"napari-mrgen: {sentence}", file=sys.stderr)
        return 1
    return of_signal


class Lines:
    """One line for each event, steps at most every ten seconds."""

    def __init__(self) -> None:
        self._due = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, events.Stepped):
            if time.monotonic() < self._due and event.step < event.steps:
                return
            self._due = time.monotonic() + SECONDS_BETWEEN_LINES
        for line in describe(event):
            print(line, flush=True)


class Bars:
    """A bar for each stage, and the other events above it."""

    def __init__(self, progress: ProgressBars) -> None:
        self._progress = progress
        self._tasks: dict[str, int] = {}
        self._other: TaskID | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case events.StageStarted():
                if self._other is not None:
                    self._progress.update(self._other, visible=False)
                self._tasks[event.stage] = self._progress.add_task(
                    event.title, total=event.steps, completed=event.step, loss=""
                )
            case events.Stepped() if event.stage in self._tasks:
                task = self._progress.tasks[self._tasks[event.stage]]
                self._progress.update(task.id, completed=event.step, loss=_figures(event.losses, 1))
            case events.Progress() if event.total:
                self._show_share(event)
            case events.Saved() | events.Previewed() | events.Progress():
                pass
            case _:
                if isinstance(event, events.Finished):
                    self._progress.stop()  # The bars stay above the scoreboard.
                for line in describe(event):
                    self._progress.console.print(line, highlight=False, markup=False)

    def _show_share(self, event: events.Progress) -> None:
        """Draw work that is not training, such as registering scans, as one bar for all of it."""
        if self._other is None:
            self._other = self._progress.add_task(event.message, total=1.0, loss="")
        self._progress.update(
            self._other, description=event.message, completed=event.fraction, visible=True
        )


def describe(event: Event) -> list[str]:  # noqa: C901 - one flat case for each kind of event
    """Say an event in plain words; nothing for those that only programs want."""
    match event:
        case events.Started():
            verb = "Resuming" if event.resumed else "Training"
            return [f"{verb} {event.family} on {event.device} in {event.run_dir}"]
        case events.StageStarted():
            return [f"{event.title}: {event.steps} steps, from {event.step}"]
        case events.Progress():
            share = "" if event.fraction is None else f" ({event.fraction:.0%})"
            return [f"{event.message}{share}"]
        case events.Stepped():
            left = _duration(event.seconds_left)
            return [
                f"{event.stage} {event.step}/{event.steps}  {_figures(event.losses)}  {left} left"
            ]
        case events.Evaluated():
            return [f"{event.stage} {event.step}  held out: {_figures(event.metrics)}"]
        case events.Warned():
            return [f"Warning: {event.message}"]
        case events.Paused():
            return [f"Paused at {event.stage} {event.step}"]
        case events.Resumed():
            return [f"Going on at {event.stage} {event.step}"]
        case events.Stopped():
            return [f"Stopped at {event.stage} {event.step}; saved, `resume` goes on from here."]
        case events.Finished():
            return [*scoreboard_lines(event.scoreboard), f"Model: {Path(event.model)}"]
    return []


def _print_event(event: Event) -> None:
    print_json(write_event(event))


def _progress() -> ProgressBars:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as ProgressBars,
    )

    return ProgressBars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )


def _figures(values: Mapping[str, float], most: int = 6) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in list(values.items())[:most])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
