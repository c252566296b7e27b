"""Events on disk: one JSON line each, a table of metrics, and TensorBoard's files."""

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Self

from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.metrics.scoreboard import Row, Scoreboard

_KINDS = {kind.__name__: kind for kind in Event.__subclasses__()}
_COLUMNS = ("stage", "step", "name", "value")


def write_event(event: Event) -> dict[str, Any]:
    """Return the event as plain JSON values; its kind is under ``"event"``."""
    return {"event": type(event).__name__, **_plain(asdict(event))}


def parse_event(values: Any) -> Event | None:
    """Return the event of such values; None for what this version does not know."""
    if isinstance(values, dict) and values.get("event") == "Progressed":  # before version 0.2
        fraction = values.get("fraction")
        share = {} if fraction is None else {"done": fraction, "total": 1}
        values = {"event": "Progress", "message": values.get("message"), **share}
    kind = _KINDS.get(str(values.get("event"))) if isinstance(values, dict) else None
    if kind is None:
        return None
    content = {f.name: _parsed(f.name, values[f.name]) for f in fields(kind) if f.name in values}
    try:
        return kind(**content)
    except TypeError:
        return None


def read_events(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """Return the events after ``offset``, and the offset after the last whole line.

    A last line without its end is left for the next call: it is being written, or its writer died.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            whole = file.read().rpartition(b"\n")[0]
    except FileNotFoundError:
        return [], offset
    parsed = (parse_event(_loads(line)) for line in whole.splitlines())
    return [e for e in parsed if e is not None], offset + len(whole) + bool(whole)


class Journal:
    """Writes every event of a run into its folder; a context manager."""

    def __init__(self, run_dir: Path) -> None:
        self._stack = ExitStack()
        for name in ("events.jsonl", "metrics.csv"):
            _end_line(run_dir / name)
        self._lines = self._stack.enter_context((run_dir / "events.jsonl").open("ab"))
        metrics = (run_dir / "metrics.csv").open("a", newline="", encoding="utf-8")
        self._metrics = self._stack.enter_context(metrics)
        self._table = csv.writer(self._metrics)
        if not metrics.tell():
            self._table.writerow(_COLUMNS)
        self._scalars: Scalars | None = None
        self._folder = run_dir / "tensorboard"

    def record(self, event: Event) -> None:
        line = json.dumps({**write_event(event), "time": round(time.time(), 3)})
        self._lines.write(line.encode() + b"\n")
        self._lines.flush()
        if isinstance(event, events.Stepped):
            self._record_metrics(event.stage, event.step, "train", event.losses)
        elif isinstance(event, events.Evaluated):
            self._record_metrics(event.stage, event.step, "held_out", event.metrics)

    def _record_metrics(
        self, stage: str, step: int, group: str, metrics: Mapping[str, float]
    ) -> None:
        named = {f"{group}/{name}": value for name, value in metrics.items()}
        self._table.writerows((stage, step, name, value) for name, value in named.items())
        self._metrics.flush()
        if self._scalars is None:
            self._scalars = self._stack.enter_context(Scalars(self._folder))
        self._scalars.add({f"{stage}/{name}": value for name, value in named.items()}, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # A failure to write has been reported already.
            self._stack.close()


class Scalars:
    """A TensorBoard event file; neither a thread nor TensorFlow is started for it."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.napari-mrgen"
        self._file = (folder / name).open("wb")
        self._writer = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")

    def add(self, values: Mapping[str, float], step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        entries = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(step=step, summary=Summary(value=entries))

    def _write(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Record

        self._writer.write(Record(wall_time=time.time(), **content).SerializeToString())
        self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()


def write_scoreboard(scoreboard: Scoreboard) -> dict[str, Any]:
    plain: dict[str, Any] = _plain(asdict(scoreboard))
    return plain


def parse_scoreboard(values: Mapping[str, Any]) -> Scoreboard:
    return Scoreboard(tuple(Row(**row) for row in values["rows"]))


def _parsed(name: str, value: Any) -> Any:
    if name == "scoreboard":
        return parse_scoreboard(value)
    if isinstance(value, dict):  # Metrics: JSON has no "not a number" but null.
        return {key: math.nan if number is None else number for key, number in value.items()}
    return _frozen(value)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _loads(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _end_line(path: Path) -> None:
    """End the line that a killed writer left torn: it must not swallow the next one."""
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                file.write(b"\n")
