"""What the program prints: events of a run, tables, and the end of a run on a signal.

Events are shown as bars on a terminal, as lines in a pipe, and as JSON for programs.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from napari_mrgen.cli.options import print_json
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.journal import read_events, write_event
from napari_mrgen.metrics.scoreboard import Row, Scoreboard
from napari_mrgen.wording import format_duration

if TYPE_CHECKING:
    from rich.progress import Progress as ProgressBars
    from rich.progress import TaskID

    from napari_mrgen.app.data_report import DataReport
    from napari_mrgen.engine.family import Survey

SECONDS_BETWEEN_LINES = 10.0
MOST_METHODS, WIDTH = 4, 100
"""Most columns of a table, and most characters of a line."""


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
    """Return the table that ends a survey, with progress on stderr; None without any."""
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
    """Provide what shows events: bars, lines or JSON."""
    if as_json:
        yield _print_event
    elif sys.stdout.isatty():
        with _progress() as progress:
            yield Bars(progress)
    else:
        yield Lines()


def _is_recorded(last: events.Failed, run_dir: Path) -> bool:
    """Whether the details of a failure stand in the run folder."""
    if not last.details:
        return False
    try:
        recorded = read_events(run_dir / "events.jsonl")[0]
    except OSError:
        return False
    return bool(recorded) and recorded[-1] == last


def exit_code(last: Event | None, run_dir: Path, of_signal: int = 0) -> int:
    """Return the program's exit code for a run's last event; a failure is printed to stderr."""
    if isinstance(last, events.Failed):
        where = f"Details are in {run_dir / 'events.jsonl'}." if _is_recorded(last, run_dir) else ""
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
        for line in event_lines(event):
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
                self._progress.update(task.id, completed=event.step, loss=_metrics(event.losses, 1))
            case events.Progress() if event.total:
                self._show_share(event)
            case events.Saved() | events.Previewed() | events.Progress():
                pass
            case _:
                if isinstance(event, events.Finished):
                    self._progress.stop()  # The bars stay above the scoreboard.
                for line in event_lines(event):
                    self._progress.console.print(line, highlight=False, markup=False)

    def _show_share(self, event: events.Progress) -> None:
        """Show work that is not training, such as registering scans, as one bar for all of it."""
        if self._other is None:
            self._other = self._progress.add_task(event.message, total=1.0, loss="")
        self._progress.update(
            self._other, description=event.message, completed=event.fraction, visible=True
        )


def event_lines(event: Event) -> list[str]:  # noqa: C901 - one flat case for each kind of event
    """Describe an event in plain words; return nothing for events that only programs need."""
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
            left = format_duration(event.seconds_left)
            return [
                f"{event.stage} {event.step}/{event.steps}  {_metrics(event.losses)}  {left} left"
            ]
        case events.Evaluated():
            return [f"{event.stage} {event.step}  held out: {_metrics(event.metrics)}"]
        case events.Warned():
            return [f"Warning: {event.message}"]
        case events.Paused():
            return [f"Paused at {event.stage} {event.step}"]
        case events.Resumed():
            return [f"Continuing at {event.stage} {event.step}"]
        case events.Stopped():
            return [f"Stopped at {event.stage} {event.step}; saved, `resume` continues from here."]
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


def _metrics(values: Mapping[str, float], most: int = 6) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in list(values.items())[:most])


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def data_lines(report: DataReport) -> list[str]:
    """List every file of a training: what it is taken as, or why it is left out."""
    rows = [("side", "subject", "taken as", "file")]
    sides = {"train": "trained on", "held_out": "held out"}
    rows += [(sides[row.side], row.subject, row.role, str(row.path)) for row in report.scans]
    lines = table_lines(rows)
    if report.pairs is not None:
        complete = [pair for pair in report.pairs if all(pair.values())]
        lines += ["", f"Pairs: {len(complete)}; scans without a partner: "
                  f"{len(report.pairs) - len(complete)}"]  # fmt: skip
    if report.left_out:
        lines += ["", "Left out:", *(f"  {one.path}: {one.why}" for one in report.left_out)]
    if report.doubts:
        lines += ["", "To check:", *(f"  {one.path}: {one.what}" for one in report.doubts)]
    return lines


def survey_lines(survey: Survey) -> list[str]:
    """Show a row of a survey on one line, and its last column, a sentence, on the next."""
    rows = [row[:-1] for row in (survey.columns, *survey.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    below = (f"    {row[-1]}" for row in survey.rows)
    return [
        f"{survey.title}:",
        head,
        *chain.from_iterable(zip(lines, below, strict=True)),
        *survey.notes,
    ]


def scoreboard_lines(scoreboard: Scoreboard) -> list[str]:
    """Show metrics as rows and methods as columns, as many methods at a time as fit a line."""
    lines: list[str] = []
    rest = scoreboard.rows
    while rest:
        count = _fitting(rest, scoreboard.columns)
        lines += [*_block(rest[:count], scoreboard.columns), ""]
        rest = rest[count:]
    if scoreboard.rows:
        lines.append(_subjects_line({row.subjects for row in scoreboard.rows}))
    return lines


def _fitting(rows: Sequence[Row], metrics: Sequence[str]) -> int:
    counts = range(min(MOST_METHODS, len(rows)), 1, -1)
    widths = ((count, max(map(len, _block(rows[:count], metrics)))) for count in counts)
    return next((count for count, width in widths if width <= WIDTH), 1)


def _block(methods: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    """Return the rows of the metrics that any of these methods has."""
    rows = [
        [name, *(_cell(row, name) for row in methods)]
        for name in metrics
        if any(name in row.mean for row in methods)
    ]
    return table_lines([["", *(row.method for row in methods)], *rows])


def _subjects_line(counts: set[int]) -> str:
    most = max(counts)
    if most < 2:
        return "Of one subject." if most else "Of all held-out slices together."
    rest = "; without ±, of all held-out slices together" if 0 in counts else ""
    return f"Mean ± spread over {most} subjects{rest}."


def _cell(row: Row, name: str) -> str:
    if name not in row.mean:
        return "–"
    spread = f" ± {row.spread[name]:.2g}" if row.spread[name] else ""
    return f"{row.mean[name]:.3g}{spread}"


class SignalControl(Control):
    """A control that remembers which signal stopped it."""

    def __init__(self) -> None:
        super().__init__()
        self.signal: int | None = None

    @property
    def exit_code(self) -> int:
        """Exit code by the custom of shells: 130 after Ctrl-C, 143 after SIGTERM, else 0."""
        return 128 + self.signal if self.signal else 0


@contextmanager
def stop_on_signals() -> Iterator[SignalControl]:
    """Provide a control that Ctrl-C, SIGTERM and a lost terminal stop; the second signal kills.

    The old handlers are put back afterwards.
    """
    control = SignalControl()
    # SIGHUP comes when the terminal or the connection to it is closed; Windows has none.
    watched = [signal.SIGINT, signal.SIGTERM, *filter(None, [getattr(signal, "SIGHUP", None)])]

    def stop(number: int, _frame: FrameType | None) -> None:
        control.signal = number
        control.stop()
        for each in watched:
            signal.signal(each, signal.SIG_DFL)
        with suppress(OSError):  # The terminal may be gone.
            print("Stopping after this step; once more to kill.", file=sys.stderr, flush=True)

    before = {each: signal.signal(each, stop) for each in watched}
    try:
        yield control
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
