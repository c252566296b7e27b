"""Run view: the progress of a run and its results; signals say what the user asks for."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QGroupBox, QPushButton, QVBoxLayout, QWidget

from napari_mrgen.app.session import Phase, RunState
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.metrics.scoreboard import Scoreboard
from napari_mrgen.widgets.loss_plot import LossPlot
from napari_mrgen.widgets.parts import Note, ShareBar, button, group, row, scrolled, switch
from napari_mrgen.widgets.tables import ScoreTable


class RunView(QWidget):
    """The curves, the scoreboard, and what can be done with the run."""

    generate_requested = Signal()
    enlarge_requested = Signal()
    open_run_requested = Signal()
    open_folder_requested = Signal()
    tensorboard_requested = Signal()
    replay_requested = Signal()
    in_3d_requested = Signal(bool)
    side_by_side_requested = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.plot = LossPlot()
        self._scores = ScoreTable(Scoreboard())
        self._device = Note()
        self._folder = Note()
        self._generate = button(
            "Generate with this model", self.generate_requested.emit,
            "Open the Generate panel with the model of this run",
        )  # fmt: skip
        self._results = self._results_group()
        self._run_buttons: tuple[QPushButton, ...] = ()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(
            scrolled(
                group("Progress", self._device, self.plot),
                self._preview_group(),
                self._results,
                self._run_group(),
            )
        )
        self.show_state(RunState())

    def follow(self, event: Event) -> None:
        """Plot the losses and metrics of an event."""
        match event:
            case events.StageStarted():
                self.plot.start_stage(event.step)
            case events.Stepped():
                self.plot.add_losses(event.step, event.losses)
            case events.Evaluated():
                self.plot.add_metrics(event.step, event.metrics)
            case events.Finished():
                self._scores.show_scores(event.scoreboard)

    def show_state(self, state: RunState) -> None:
        self._device.say(f"Training on {state.device}." if state.device else "")
        self._folder.say("" if state.run_dir is None else str(state.run_dir))
        self._results.setVisible(state.phase is Phase.FINISHED)
        for one in self._run_buttons:
            one.setEnabled(state.run_dir is not None and state.phase is not Phase.STARTING)
        self._open_run.setEnabled(not state.is_busy)

    def show_view(self, in_3d: bool, side_by_side: bool) -> None:
        """Show how the previews are seen, without a signal."""
        self._in_3d.setChecked(in_3d)
        self._side_by_side.setChecked(side_by_side)

    def clear(self) -> None:
        """Clear the curves for another run."""
        self.plot.clear()

    def _preview_group(self) -> QGroupBox:
        self._in_3d = switch(
            "3-D", self.in_3d_requested.emit, "Render the previews in 3-D, or show slices again"
        )
        self._side_by_side = switch(
            "Side by side", self.side_by_side_requested.emit,
            "Show all previews next to one another, or as before",
        )  # fmt: skip
        replay = button("Replay", self.replay_requested.emit, "Play the previews so far as a movie")
        self._replay = replay
        return group("Preview", row(self._in_3d, self._side_by_side, replay))

    def _results_group(self) -> QGroupBox:
        hint = Note(
            "Mean ± standard deviation over the held-out subjects, or over the training subjects "
            "if none are held out. The rows below the model are baselines that it should beat."
        )
        larger = button("Show larger", self.enlarge_requested.emit, "The table in its own window")
        return group("Scores", hint, self._scores, larger, self._generate)

    def _run_group(self) -> QGroupBox:
        open_folder = button("Open run folder", self.open_folder_requested.emit)
        tensorboard = button(
            "TensorBoard", self.tensorboard_requested.emit, "Show the run in the web browser"
        )
        self._open_run = button(
            "Open an earlier run…", self.open_run_requested.emit,
            "See it here, resume it, or generate with it", name="open_run",
        )  # fmt: skip
        self._run_buttons = (open_folder, tensorboard, self._replay)
        grid = QGridLayout()
        grid.addWidget(open_folder, 0, 0)
        grid.addWidget(tensorboard, 0, 1)
        grid.addWidget(self._open_run, 1, 0, 1, 2)
        return group("Run", self._folder, grid)


class ActionBar(QWidget):
    """The buttons of a run, its progress and what to do next; always in sight below the tabs."""

    train_requested = Signal()
    pause_requested = Signal()
    resume_requested = Signal()
    stop_requested = Signal()
    diagnostics_requested = Signal()
    details_requested = Signal()

    def __init__(self, headline: Note) -> None:
        super().__init__()
        self.headline = headline
        self._next = Note()
        self._next.setObjectName("next_step")
        self._bar = ShareBar()
        self._train = button("Train", self.train_requested.emit, "Start a new run")
        self._pause = button("Pause", self.pause_requested.emit, "Wait after this step")
        self._resume = button("Resume", self.resume_requested.emit, "Go on from where it stopped")
        self._stop = button("Stop", self.stop_requested.emit, "Save the run and end it")
        self._details = button("Details", self.details_requested.emit, "The whole error message")
        copy = button(
            "Copy diagnostics", self.diagnostics_requested.emit,
            "Put versions, settings and the last problem on the clipboard, for a report",
        )  # fmt: skip
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 0, 4, 4)
        layout.setSpacing(4)
        layout.addWidget(self._bar)
        layout.addWidget(self.headline)
        layout.addWidget(self._next)
        layout.addLayout(row(self._train, self._pause, self._resume, self._stop))
        layout.addLayout(row(self._details, copy))

    def show_state(self, state: RunState) -> None:
        self._train.setEnabled(state.can_train)
        self._pause.setEnabled(state.can_pause)
        self._resume.setEnabled(state.can_resume)
        self._stop.setEnabled(state.can_stop)
        self._details.setVisible(bool(state.details))
        self._bar.setVisible(state.is_busy)
        self._bar.show_share(state.shown_fraction)
        self.headline.say(state.headline, warning=state.phase is Phase.FAILED)
        self._next.say(state.next_step)
