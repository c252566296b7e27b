"""The state machine of a run, without Qt and without threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from napari_mrgen.app.session import (
    Phase,
    Request,
    ResumeRequest,
    RunState,
    Session,
    after,
)
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.errors import MrgenError

RUN = Path("runs") / "one"
BEGIN = (
    events.Started(str(RUN), "toy", "cpu", ("first", "second")),
    events.StageStarted("first", "First part", 0, 100),
)


def stepped(step: int) -> events.Stepped:
    return events.Stepped("first", step, 100, {"loss": 1.0}, 0.1, 42.0)


class Bench:
    """A session whose runner is driven by hand."""

    def __init__(self) -> None:
        self.jobs: list[Request] = []
        self.controls: list[Control] = []
        self.seen: list[RunState] = []
        self.session = Session(self._make, self._run, lambda state, _event: self.seen.append(state))
        self.receive: Callable[[Event], None]
        self.end: Callable[[BaseException | None], None]

    def _make(self, job: Request, control: Control) -> Iterator[Event]:
        self.jobs.append(job)
        self.controls.append(control)
        return iter(())

    def _run(
        self,
        make: Callable[[], Iterator[Event]],
        receive: Callable[[Event], None],
        end: Callable[[BaseException | None], None],
    ) -> None:
        make()
        self.receive, self.end = receive, end

    def say(self, *said: Event) -> None:
        for event in said:
            self.receive(event)

    @property
    def state(self) -> RunState:
        return self.session.state


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.session.start(ResumeRequest(RUN))
    return made


def test_a_run_from_start_to_finish(bench: Bench) -> None:
    assert bench.state.phase is Phase.STARTING
    bench.say(*BEGIN, stepped(50))
    assert bench.state.phase is Phase.TRAINING
    assert bench.state.fraction == pytest.approx(0.25)
    assert bench.state.headline == (
        "Stage 1 of 2: First part, step 50 of 100, about 42 s left in this stage"
    )
    bench.say(events.Finished("model.safetensors"))
    bench.end(None)
    assert bench.state.phase is Phase.FINISHED
    assert bench.state.model == RUN / "model.safetensors"
    assert bench.state.fraction == 1.0


def test_one_run_at_a_time(bench: Bench) -> None:
    with pytest.raises(MrgenError, match="still going on"):
        bench.session.start(ResumeRequest(RUN))
    assert not bench.state.can_train


def test_pause_and_resume(bench: Bench) -> None:
    bench.say(*BEGIN, stepped(10))
    bench.session.pause()
    assert bench.controls[0].is_paused
    assert bench.state.phase is Phase.PAUSING
    bench.say(events.Paused("first", 11))
    assert bench.state.phase is Phase.PAUSED
    assert bench.state.can_resume
    bench.session.resume()
    assert bench.state.phase is Phase.TRAINING
    assert not bench.controls[0].is_paused


def test_a_pause_that_comes_late_does_not_undo_a_resume(bench: Bench) -> None:
    bench.say(*BEGIN, stepped(10))
    bench.session.pause()
    bench.session.resume()
    bench.say(events.Paused("first", 11), events.Resumed("first", 11))
    assert bench.state.phase is Phase.TRAINING


def test_a_stop_stands_until_it_has_happened(bench: Bench) -> None:
    bench.say(*BEGIN)
    bench.session.stop()
    assert bench.controls[0].is_stopped
    bench.say(stepped(10), events.StageStarted("second", "Second part", 0, 100))
    assert bench.state.phase is Phase.STOPPING
    bench.say(events.Stopped("first", 11))
    bench.end(None)
    assert bench.state.phase is Phase.STOPPED
    assert bench.state.can_resume


def test_a_stopped_run_resumes_from_its_folder_with_a_fresh_control(bench: Bench) -> None:
    bench.say(*BEGIN, events.Stopped("first", 11))
    bench.end(None)
    bench.session.resume("cuda:0")
    assert bench.jobs[-1] == ResumeRequest(RUN, "cuda:0")
    assert not bench.controls[-1].is_stopped


def test_the_late_end_of_a_stopped_run_does_not_end_the_next(bench: Bench) -> None:
    """Resume may be pressed as soon as the run has stopped, before its thread is gone."""
    bench.say(*BEGIN, events.Stopped("first", 4))
    late = bench.end
    bench.session.resume()
    late(None)
    assert bench.state.phase is Phase.STARTING
    bench.end(None)
    assert bench.state.phase is Phase.FAILED


def test_a_failure_says_what_to_do(bench: Bench) -> None:
    bench.say(events.Failed("Out of memory.", "Choose a smaller batch size.", "Traceback…"))
    bench.end(None)
    assert (bench.state.headline, bench.state.next_step) == (
        "Out of memory.",
        "Choose a smaller batch size.",
    )
    assert bench.state.details == "Traceback…"


@pytest.mark.parametrize("error", [None, RuntimeError("lost"), SystemExit(3)])
def test_a_run_that_ends_without_a_word_has_failed(
    bench: Bench, error: BaseException | None
) -> None:
    bench.say(*BEGIN)
    bench.end(error)
    assert bench.state.phase is Phase.FAILED


def test_a_failure_before_the_first_save_cannot_be_resumed() -> None:
    state = RunState(phase=Phase.TRAINING)
    failed = after(events.Failed("No."), state)
    assert not failed.can_resume
    saved = after(events.Saved("first", 10, "x"), state)
    assert after(events.Failed("No."), saved).can_resume


@pytest.mark.parametrize(
    ("history", "phase"),
    [
        ((*BEGIN, stepped(10)), Phase.STOPPED),
        ((*BEGIN, events.Finished("model.safetensors")), Phase.FINISHED),
        ((*BEGIN, events.Failed("No.")), Phase.FAILED),
        ((), Phase.STOPPED),
    ],
)
def test_an_earlier_run_is_shown_as_it_ended(history: tuple[Event, ...], phase: Phase) -> None:
    bench = Bench()
    bench.session.open(RUN, history)
    assert bench.state.phase is phase
    assert bench.state.run_dir == RUN


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_words_and_leads_on(phase: Phase) -> None:
    state = RunState(phase=phase, problem="It failed.", stage="first", can_continue=True)
    assert state.headline
    ways_on = (state.can_train, state.can_pause, state.can_resume, state.can_stop)
    assert any(ways_on) or phase is Phase.STOPPING
    assert state.next_step or phase in (Phase.STOPPING, Phase.PAUSING)


def test_no_qt_and_no_napari() -> None:
    code = (
        "import sys, napari_mrgen.app.session as s;"
        "print([m for m in ('qtpy', 'PyQt6', 'napari', 'torch') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_a_run_that_was_moved_is_where_it_was_opened() -> None:
    bench = Bench()
    elsewhere = Path("elsewhere") / "one"
    end = events.Finished(str(RUN / "model.safetensors"))
    bench.session.open(elsewhere, (*BEGIN, end))
    assert bench.state.run_dir == elsewhere
    assert bench.state.model == elsewhere / "model.safetensors"


def test_what_an_earlier_run_said_is_not_told_again() -> None:
    bench = Bench()
    bench.session.open(RUN, (*BEGIN, events.Warned("Old news."), events.Failed("No.")))
    assert [state.phase for state in bench.seen] == [Phase.FAILED]


def test_no_run_is_opened_over_one_that_goes_on(bench: Bench) -> None:
    with pytest.raises(MrgenError, match="still going on"):
        bench.session.open(RUN, ())
    assert bench.state.phase is Phase.STARTING


def test_preparation_shows_how_far_it_is() -> None:
    state = after(BEGIN[0], RunState(phase=Phase.STARTING))
    state = after(events.Progress("Registering", 1, 2), state)
    assert (state.headline, state.shown_fraction) == ("Registering", 0.5)
    state = after(stepped(25), after(BEGIN[1], state))
    assert (state.doing, state.shown_fraction) == ("", state.fraction)
