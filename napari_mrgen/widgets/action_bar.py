"""Action bar: the buttons of a run and how far it is, always in sight below the tabs."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mrgen.app.session import Phase, RunState
from napari_mrgen.widgets.parts import Note, ShareBar, button, row


class ActionBar(QWidget):
    """Train, Pause, Resume, Stop; what is going on, and what to do next."""

    train_requested = Signal()
    pause_requested = Signal()
    resume_requested = Signal()
    stop_requested = Signal()
    diagnostics_requested = Signal()
    details_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.headline = Note()
        self.headline.setObjectName("headline")
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

    def complain(self, sentence: str) -> None:
        """Say what keeps a run from being started."""
        self.headline.say(sentence, warning=True)
