"""A run from start to end, and every way it can end otherwise."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_mrgen.engine import loop
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit, resume
from napari_mrgen.engine.loop import Throughput
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.folder import Run, holds_run, read_preview, watch
from napari_mrgen.engine.run.model import load_weights, save_model
from napari_mrgen.engine.run.model_header import Header, read_header
from napari_mrgen.engine.run.state import saved_states
from tests.engine import toy


def train(folder: Path, control: Control | None = None, **more: Any) -> Iterator[Event]:
    fields = {name: more.pop(name) for name in list(more) if name in toy.ToyConfig.model_fields}
    config = toy.ToyConfig(**{"steps": 6, "save_every": 3, "preview_every": 4, **fields})
    inputs = toy.inputs(folder / "inputs")
    options = {"precision": "32-true", "device": "cpu", **more}
    return fit(toy.FAMILY, config, inputs, folder / "run", control or Control(), **options)


def stopping_at(step: int, monkeypatch: pytest.MonkeyPatch, action: str = "stop") -> Control:
    """Return a control that is told to stop, or to pause, while a step is taken."""
    control = Control()
    monkeypatch.setattr(
        toy, "on_step", lambda _, here: getattr(control, action)() if here == step else None
    )
    return control


def last(source: Iterator[Event]) -> Event:
    return list(source)[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def told(folder: Path) -> list[Event]:
    return list(train(folder))


class TestWholeRun:
    def test_tells_its_story_in_order(self, told: list[Event]) -> None:
        kinds = [type(event).__name__ for event in told]
        assert kinds[0] == "Started"
        assert kinds[-1] == "Finished"
        assert kinds.count("StageStarted") == 2
        assert [e.step for e in told if isinstance(e, events.Saved)] == [3, 6, 3, 6]
        assert [e.step for e in told if isinstance(e, events.Evaluated)] == [4, 6, 4, 6]

    def test_the_folder_tells_the_same(self, told: list[Event], folder: Path) -> None:
        assert list(watch(folder / "run")) == told

    def test_leaves_what_the_design_says(self, told: list[Event], folder: Path) -> None:
        found = {path.name for path in (folder / "run").iterdir()}
        assert found == {
            *("config.yaml", "inputs.json", "run.json", "environment.json", "events.jsonl"),
            *("metrics.csv", "tensorboard", "checkpoints", "previews", "scoreboard.json"),
            *("model.safetensors", "model-first.safetensors", "model-second.safetensors"),
            *("finished.jsonl", "movies", "figures"),
        }
        assert len(list((folder / "run" / "checkpoints").iterdir())) == 2

    def test_the_scoreboard_is_in_event_file_and_model(
        self, told: list[Event], folder: Path
    ) -> None:
        finished = told[-1]
        assert isinstance(finished, events.Finished)
        assert finished.scoreboard.row("model").mean == {"mse": 1.0}
        rows = json.loads((folder / "run" / "scoreboard.json").read_text())["rows"]
        assert [row["method"] for row in rows] == ["model", "baseline"]
        assert read_header(folder / "run").metrics == {"mse": 1.0}

    def test_previews_come_back_with_their_geometry(self, told: list[Event], folder: Path) -> None:
        previewed = next(e for e in told if isinstance(e, events.Previewed))
        (volume,) = read_preview(folder / "run", previewed)
        assert volume.spacing == (8.0, 1.5, 1.5)

    def test_the_inputs_are_kept_with_their_split(self, told: list[Event], folder: Path) -> None:
        assert Run(folder / "run").inputs == toy.inputs(folder / "inputs")

    def test_a_finished_run_finishes_again(self, told: list[Event], folder: Path) -> None:
        assert last(resume(folder / "run", toy.lookup, Control())) == told[-1]

    def test_a_taken_folder_is_refused(self, told: list[Event], folder: Path) -> None:
        failed = last(train(folder))
        assert isinstance(failed, events.Failed)
        assert "already holds a run" in failed.message

    def test_a_run_that_failed_while_made_ready_gives_way(self, tmp_path: Path) -> None:
        failed = last(train(tmp_path, start_from=tmp_path / "none.safetensors"))
        assert isinstance(failed, events.Failed)
        assert holds_run(tmp_path / "run")
        assert isinstance(last(train(tmp_path)), events.Finished)
        history = Run(tmp_path / "run").history
        assert [type(event) for event in history].count(events.Started) == 1

    def test_a_run_that_was_stopped_while_made_ready_gives_way(self, tmp_path: Path) -> None:
        control = Control()
        control.stop()
        assert isinstance(last(train(tmp_path, control, preparing=3)), events.Stopped)
        assert isinstance(last(train(tmp_path)), events.Finished)

    def test_a_run_that_failed_in_a_step_does_not(self, tmp_path: Path) -> None:
        assert "Training failed" in getattr(last(train(tmp_path, fail_at=1)), "message", "")
        assert "already holds a run" in getattr(last(train(tmp_path)), "message", "")


def test_no_global_generator_is_touched(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    assert isinstance(last(train(tmp_path)), events.Finished)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_decides(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert isinstance(last(train(tmp_path / name, seed=seed)), events.Finished)
    a, b, c = (load_weights(tmp_path / n / "run")["predictor"]["body.weight"] for n in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_saving_and_looking_change_nothing(tmp_path: Path) -> None:
    list(train(tmp_path / "often", save_every=1, preview_every=1))
    list(train(tmp_path / "never", save_every=1000, preview_every=1000))
    often, never = (load_weights(tmp_path / n / "run")["predictor"] for n in ("often", "never"))
    assert all(torch.equal(often[key], never[key]) for key in often)


def test_a_run_in_bfloat16_trains(tmp_path: Path) -> None:
    assert isinstance(last(train(tmp_path, precision="bf16-mixed")), events.Finished)
    assert Run(tmp_path / "run").options.precision == "bf16-mixed"


class TestStages:
    def test_one_stage_alone(self, tmp_path: Path) -> None:
        told = list(train(tmp_path, only_stage="first"))
        assert [e.stage for e in told if isinstance(e, events.StageStarted)] == ["first"]
        assert isinstance(told[-1], events.Finished)

    def test_a_later_stage_alone_needs_a_model_to_start_from(self, tmp_path: Path) -> None:
        failed = last(train(tmp_path, only_stage="second"))
        assert isinstance(failed, events.Failed)
        assert "first_steps=0" in failed.message

    def test_one_stage_resumes_as_itself(self, tmp_path: Path) -> None:
        list(train(tmp_path / "a", only_stage="first"))
        start, control = tmp_path / "a" / "run", Control()
        control.stop()
        stopped = last(train(tmp_path / "b", control, only_stage="second", start_from=start))
        assert stopped == events.Stopped("second", 0)
        told = list(resume(tmp_path / "b" / "run", toy.lookup, Control()))
        assert [e.stage for e in told if isinstance(e, events.StageStarted)] == ["second"]

    def test_start_from_takes_over_the_networks_of_that_name(self, tmp_path: Path) -> None:
        list(train(tmp_path / "a", only_stage="first"))
        list(train(tmp_path / "b", only_stage="second", start_from=tmp_path / "a" / "run", steps=0))
        a, b = (load_weights(tmp_path / n / "run")["predictor"] for n in "ab")
        assert all(torch.equal(a[key], b[key]) for key in a)

    def test_a_model_to_start_from_has_to_fit(self, tmp_path: Path) -> None:
        start = tmp_path / "start.safetensors"
        for family, network, said in (
            ("other", "predictor", "a model of other"),
            ("toy", "stranger", "expected one of predictor"),
        ):
            header = Header(family, "first", 1, {}, {}, (network,))
            save_model(start, {network: toy.Predictor(4, 0)}, header)
            failed = last(train(tmp_path / family, start_from=start))
            assert isinstance(failed, events.Failed)
            assert said in failed.message

    @pytest.mark.parametrize("kind", [events.StageStarted, events.Evaluated, events.Saved])
    def test_a_run_needs_its_start_only_once(self, tmp_path: Path, kind: type[Event]) -> None:
        """Stopped at step 0, within the first stage, or at its end: a moved model is not missed."""
        list(train(tmp_path / "a", only_stage="first"))
        start = (tmp_path / "a" / "run" / "model.safetensors").rename(tmp_path / "start")
        list(train(tmp_path / "whole", start_from=start))
        control = Control()
        for event in train(tmp_path / "b", control, start_from=start, save_every=6):
            if isinstance(event, kind):
                control.stop()
        start.unlink()
        resumed = last(resume(tmp_path / "b" / "run", toy.lookup, Control()))
        assert isinstance(resumed, events.Finished)
        whole, b = (load_weights(tmp_path / n / "run")["predictor"] for n in ("whole", "b"))
        assert all(torch.equal(whole[key], b[key]) for key in whole)

    def test_together_equals_one_after_the_other(self, tmp_path: Path) -> None:
        list(train(tmp_path / "both"))
        list(train(tmp_path / "one", only_stage="first"))
        start = tmp_path / "one" / "run"
        list(train(tmp_path / "two", only_stage="second", start_from=start))
        both, two = (load_weights(tmp_path / n / "run")["predictor"] for n in ("both", "two"))
        assert all(torch.equal(both[key], two[key]) for key in both)

    def test_an_unknown_stage_is_named(self, tmp_path: Path) -> None:
        failed = last(train(tmp_path, only_stage="third"))
        assert isinstance(failed, events.Failed)
        assert "first, second" in failed.message


class TestControl:
    def test_stopped_before_the_first_step(self, tmp_path: Path) -> None:
        control = Control()
        control.stop()
        assert last(train(tmp_path, control)) == events.Stopped("first", 0)
        assert Run(tmp_path / "run").status == "stopped"
        assert isinstance(last(resume(tmp_path / "run", toy.lookup, Control())), events.Finished)

    def test_pause_holds_the_step_and_resume_goes_on(self, tmp_path: Path) -> None:
        control, kinds = Control(), []
        for event in train(tmp_path, control):
            kinds.append(type(event))
            if isinstance(event, events.Saved) and event.step == 3:
                control.pause()
            if isinstance(event, events.Paused):
                threading.Timer(0.3, control.resume).start()
        assert kinds.count(events.Paused) == kinds.count(events.Resumed) == 2
        assert kinds[-1] is events.Finished

    def test_a_long_pause_is_saved(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loop, "LONG_PAUSE", 0.1)
        control = Control()
        control.pause()
        told = []
        for event in train(tmp_path, control):
            told.append(event)
            if isinstance(event, events.Saved):
                control.stop()
        assert [type(e) for e in told[-2:]] == [events.Saved, events.Stopped]
        assert any(isinstance(e, events.Paused) for e in told)

    @pytest.mark.parametrize("action", ["stop", "pause"])
    def test_what_was_saved_was_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
    ) -> None:
        monkeypatch.setattr(loop, "LONG_PAUSE", 0.0)
        monkeypatch.setattr(Throughput, "is_due", lambda *_: False)
        control = stopping_at(2, monkeypatch, action)
        told = []
        for event in train(tmp_path, control, save_every=100):
            told.append(event)
            if isinstance(event, events.Saved):
                control.stop()
        assert isinstance(told[-1], events.Stopped)
        assert [e.step for e in told if isinstance(e, events.Stepped | events.Saved)] == [3, 3]

    def test_a_stopped_run_has_a_model(self, tmp_path: Path) -> None:
        control = Control()
        for event in train(tmp_path, control):
            if isinstance(event, events.Evaluated) and event.stage == "first":
                control.stop()
        header = read_header(tmp_path / "run")
        assert (header.stage, header.step) == ("first", 4)


class TestFailure:
    def test_a_runtime_error_is_an_event(self, tmp_path: Path) -> None:
        failed = last(train(tmp_path, fail_at=2))
        assert isinstance(failed, events.Failed)
        assert "told to fail" in failed.message
        assert "RuntimeError" in failed.details
        assert Run(tmp_path / "run").status == "failed"

    def test_a_failed_run_can_be_resumed(self, tmp_path: Path) -> None:
        list(train(tmp_path, fail_at=4))
        told = list(resume(tmp_path / "run", toy.lookup, Control()))
        started = [e for e in told if isinstance(e, events.StageStarted)]
        assert [(e.stage, e.step) for e in started] == [("second", 3)]

    def test_a_loss_that_is_no_number_is_not_saved(self, tmp_path: Path) -> None:
        failed = last(train(tmp_path, learning_rate=1e30))
        assert isinstance(failed, events.Failed)
        assert "no longer a number" in failed.message
        assert "learning rate" in failed.advice

    def test_nor_when_a_stop_is_asked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Throughput, "is_due", lambda *_: False)
        control = stopping_at(2, monkeypatch)
        failed = last(train(tmp_path, control, learning_rate=1e30, save_every=100))
        assert isinstance(failed, events.Failed)
        assert "no longer a number" in failed.message
        assert not saved_states(tmp_path / "run" / "checkpoints")

    def test_a_folder_in_use_is_refused(self, tmp_path: Path) -> None:
        first = train(tmp_path)
        next(first)
        failed = last(resume(tmp_path / "run", toy.lookup, Control()))
        assert isinstance(failed, events.Failed)
        assert "being trained by process" in failed.message
        assert isinstance(last(first), events.Finished)

    def test_no_run_there(self, tmp_path: Path) -> None:
        failed = last(resume(tmp_path, toy.lookup, Control()))
        assert isinstance(failed, events.Failed)
        assert "is not a run folder" in failed.message

    @pytest.mark.parametrize(("option", "said"), [("device", "cpu"), ("precision", "bf16-mixed")])
    def test_bad_options_name_the_good_ones(self, tmp_path: Path, option: str, said: str) -> None:
        failed = last(train(tmp_path, **{option: "abacus"}))
        assert isinstance(failed, events.Failed)
        assert said in failed.message

    def test_a_damaged_checkpoint_is_passed_over(self, tmp_path: Path) -> None:
        control = Control()
        for event in train(tmp_path, control):
            if isinstance(event, events.Evaluated) and event.stage == "first":
                control.stop()
        newest = tmp_path / "run" / "checkpoints" / "0-first-00000004.pt"
        newest.write_bytes(newest.read_bytes()[:500])
        told = list(resume(tmp_path / "run", toy.lookup, Control()))
        assert any(isinstance(e, events.Warned) and newest.name in e.message for e in told)
        assert next(e.step for e in told if isinstance(e, events.StageStarted)) == 3
        assert isinstance(told[-1], events.Finished)


class TestWarnings:
    def test_pictures_that_cannot_be_drawn_fail_nothing(self, tmp_path: Path) -> None:
        torn = tmp_path / "run" / "previews" / "0-first-00000000-0.png"
        told = []
        for event in train(tmp_path):
            told.append(event)
            if isinstance(event, events.StageStarted) and event.stage == "first":
                torn.write_bytes(b"torn")
        assert any("of stage first" in e.message for e in told if isinstance(e, events.Warned))
        assert isinstance(told[-1], events.Finished)

    def test_changed_inputs_are_told(self, tmp_path: Path) -> None:
        control = Control()
        control.stop()
        list(train(tmp_path, control))
        (tmp_path / "inputs" / "a.nii").write_bytes(b"another")
        (tmp_path / "inputs" / "b.nii").unlink()
        told = list(resume(tmp_path / "run", toy.lookup, Control()))
        assert any("a.nii, b.nii" in e.message for e in told if isinstance(e, events.Warned))

    def test_another_environment_is_told(self, tmp_path: Path) -> None:
        control = Control()
        control.stop()
        list(train(tmp_path, control))
        path = tmp_path / "run" / "environment.json"
        path.write_text(path.read_text().replace(torch.__version__, "1.0"))
        told = list(resume(tmp_path / "run", toy.lookup, Control()))
        assert any("torch 1.0 ->" in e.message for e in told if isinstance(e, events.Warned))


class TestPreparing:
    def test_what_a_family_says_is_passed_on(self, tmp_path: Path) -> None:
        told = list(train(tmp_path, preparing=4))
        said = [e for e in told if isinstance(e, events.Progress) and e.message == "Cooking"]
        assert [event.fraction for event in said] == [0, 0.25, 0.5, 0.75]
        assert isinstance(told[-1], events.Finished)

    def test_it_changes_nothing(self, tmp_path: Path) -> None:
        for name, parts in (("a", 0), ("b", 3)):
            list(train(tmp_path / name, preparing=parts))
        a, b = (load_weights(tmp_path / n / "run")["predictor"] for n in "ab")
        assert all(torch.equal(a[key], b[key]) for key in a)

    def test_a_stop_meanwhile_is_obeyed(self, tmp_path: Path) -> None:
        control, told = Control(), []
        for event in train(tmp_path, control, preparing=4):
            told.append(event)
            if isinstance(event, events.Progress) and event.fraction == 0.25:
                control.stop()
        assert told[-1] == events.Stopped("first", 0)
        assert isinstance(last(resume(tmp_path / "run", toy.lookup, Control())), events.Finished)
