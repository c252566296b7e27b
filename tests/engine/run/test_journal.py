"""Events on disk are the events in process."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.journal import Journal, parse_event, read_events, write_event
from napari_mrgen.metrics.scoreboard import Row, Scoreboard

ALL: tuple[Event, ...] = (
    events.Started("/runs/a", "toy", "CPU", ("first", "second"), resumed=True),
    events.StageStarted("first", "First", 3, 10),
    events.Progress("Preparing"),
    events.Progress("Scoring", 1, 2),
    events.Stepped("first", 4, 10, {"error": 0.25}, 0.1, 0.6),
    events.Evaluated("first", 5, {"psnr": 30.0}),
    events.Previewed("first", 5, ("previews/a.nii", "previews/b.nii")),
    events.Saved("first", 5, "checkpoints/0-first-00000005.pt"),
    events.Warned("Häßlich ✓"),
    events.Paused("first", 6),
    events.Resumed("first", 6),
    events.Stopped("first", 7),
    events.Failed("No.", "Try again.", "Traceback\n  line"),
    events.Finished("model", Scoreboard((Row("model", 2, {"psnr": 31.0}, {"psnr": 1.0}),))),
)


def test_every_kind_is_tried() -> None:
    modules = (events.__name__, events.Progress.__module__)
    kinds = {kind for kind in Event.__subclasses__() if kind.__module__ in modules}
    assert {type(event) for event in ALL} == kinds


@pytest.mark.parametrize("event", ALL, ids=lambda event: type(event).__name__)
def test_reading_is_the_inverse_of_writing(event: Event) -> None:
    assert parse_event(json.loads(json.dumps(write_event(event)))) == event


def test_what_is_not_a_number_is_written_as_json() -> None:
    text = json.dumps(write_event(events.Evaluated("a", 1, {"psnr": math.nan})), allow_nan=False)
    parsed = parse_event(json.loads(text))
    assert isinstance(parsed, events.Evaluated)
    assert math.isnan(parsed.metrics["psnr"])


@pytest.mark.parametrize(
    "values", [None, 3, [], {}, {"event": "Danced"}, {"event": "Stopped"}, {"event": ["Stopped"]}]
)
def test_what_is_no_event_is_none(values: object) -> None:
    assert parse_event(values) is None


def test_a_later_version_may_add_fields() -> None:
    values = {"event": "Stopped", "stage": "a", "step": 1, "mood": "good"}
    assert parse_event(values) == events.Stopped("a", 1)


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    path, seen, offset = tmp_path / "events.jsonl", [], 0
    assert read_events(path) == ([], 0)
    for event in ALL:
        with Journal(tmp_path) as journal:
            journal.record(event)
        found, offset = read_events(path, offset)
        seen += found
    assert tuple(seen) == ALL
    assert offset == path.stat().st_size


def test_figures_are_in_the_table_and_in_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Journal(tmp_path) as journal:
        for event in ALL:
            journal.record(event)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"stage": "first", "step": "4", "name": "train/error", "value": "0.25"}
    assert rows[1]["name"] == "held_out/psnr"
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (scalar,) = found.Scalars("first/train/error")
    assert (scalar.step, scalar.value) == (4, 0.25)


def test_the_progress_of_an_earlier_version_is_read() -> None:
    old = {"event": "Progressed", "message": "Scoring", "fraction": 0.5}
    assert parse_event(old) == events.Progress("Scoring", 0.5, 1)
    assert parse_event({**old, "fraction": None}) == events.Progress("Scoring")
