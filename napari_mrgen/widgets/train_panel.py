"""Train panel: set up a training, follow it, and hand its model over to Generate."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from napari import Viewer
from napari.utils.notifications import show_error, show_info, show_warning
from napari.utils.theme import get_theme
from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QFileDialog, QMessageBox, QTabWidget, QVBoxLayout

from napari_mrgen import families
from napari_mrgen.app import window_work
from napari_mrgen.app.session import RunState, Session, diagnostics
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.family import DataPreview, Plan, Survey
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.folder import Run
from napari_mrgen.errors import MrgenError
from napari_mrgen.volume import Volume
from napari_mrgen.widgets import remember
from napari_mrgen.widgets.activity import Activity
from napari_mrgen.widgets.generate_panel import GeneratePanel
from napari_mrgen.widgets.panel import Panel
from napari_mrgen.widgets.planner import DataPreviewer, Planner
from napari_mrgen.widgets.preview_layers import Montage, PreviewLayers
from napari_mrgen.widgets.run_view import ActionBar, RunView
from napari_mrgen.widgets.setup_view import SetupView
from napari_mrgen.widgets.tables import ModelDialog, ScoreDialog, SurveyDialog
from napari_mrgen.widgets.tensorboard import TensorBoard
from napari_mrgen.widgets.worker import run_in_thread


class TrainPanel(Panel):
    """The dock widget; of its parts only this class has the viewer.

    Views signal what the user asks for, methods here do it, the session holds the state, and all
    views show every new state.
    """

    state_changed = Signal(object)
    """The `RunState` after whatever happened."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.setup = SetupView(napari_viewer.layers)
        self.run = RunView()
        self.bar = ActionBar(self.headline)
        self.session = Session(window_work.run_events, run_in_thread, self._on_state)
        self._planner = Planner(self.setup.request, self)
        self._previews = PreviewLayers(napari_viewer)
        self._montage = Montage(napari_viewer)
        self._activity = Activity(self)
        self._tensorboard = TensorBoard(self)
        self._previewer = DataPreviewer(self._planner.folder / "preview", self)
        self._wants_summary = False
        self._shown_run: Path | None = None
        self._lay_out()
        self._connect()
        self._on_theme()
        self._on_state(self.session.state, None)
        self._planner.plan_soon()

    # ------------------------------------------------------------ layout

    def _lay_out(self) -> None:
        self.tabs = QTabWidget()
        self.tabs.addTab(self.setup, "Set up")
        self.tabs.addTab(self.run, "Run")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tabs, stretch=1)
        layout.addWidget(self.bar)

    def _connect(self) -> None:
        setup, run, bar = self.setup, self.run, self.bar
        setup.changed.connect(self._planner.plan_soon)
        setup.changed.connect(self._previewer.stop)
        setup.failed.connect(self.complain)
        setup.preview_data_requested.connect(self.preview_data)
        setup.stop_preview_requested.connect(self._previewer.stop)
        self._previewer.progressed.connect(self._on_preview_progress)
        self._previewer.surveyed.connect(self._on_surveyed)
        self._previewer.previewed.connect(self._on_previewed)
        self._previewer.failed.connect(self.complain)
        self._previewer.ended.connect(self._on_preview_ended)
        setup.model_summary_requested.connect(self.show_model_summary)
        self._planner.planned.connect(self._on_planned)
        self._planner.failed.connect(self._on_plan_failed)
        run.generate_requested.connect(self.open_generate)
        run.enlarge_requested.connect(self._on_enlarge)
        run.open_run_requested.connect(self._on_open_run)
        run.open_folder_requested.connect(self._on_open_folder)
        run.tensorboard_requested.connect(self._on_tensorboard)
        run.replay_requested.connect(self._on_replay)
        run.in_3d_requested.connect(lambda on: self._previews.show_in_3d(on=on))
        run.side_by_side_requested.connect(self._on_side_by_side)
        self._viewer.dims.events.ndisplay.connect(self._show_preview_view)
        self._tensorboard.opened.connect(lambda at: show_info(f"TensorBoard is shown at {at}"))
        self._tensorboard.failed.connect(lambda problem: show_error(f"TensorBoard: {problem}"))
        bar.train_requested.connect(self.train)
        bar.pause_requested.connect(self.session.pause)
        bar.resume_requested.connect(self._on_resume)
        bar.stop_requested.connect(self.stop)
        bar.diagnostics_requested.connect(self._on_diagnostics)
        bar.details_requested.connect(self._on_details)
        self._viewer.events.theme.connect(self._on_theme)

    def stop(self) -> None:
        """Ask for the run to be saved and ended."""
        self.session.stop()

    # ------------------------------------------------------------ what the user asked for

    def train(self) -> None:
        """Read the form, once, and start a run with it."""
        try:
            self.session.start(self.setup.request())
        except MrgenError as error:
            self.complain(str(error))
            return
        self.setup.remember()

    def open_run(self, run_dir: Path) -> None:
        """Show an earlier run: its settings, curves and scores."""
        try:
            run = Run(run_dir)
            family = families.get(run.options.family)
            config, history = run.config(family), run.history
            self.session.open(run_dir, history)
        except (MrgenError, OSError) as error:
            self.complain(str(error))
            return
        self.setup.choose_family(family.name)
        self.setup.show_config(config)
        self.run.clear()
        for event in history:
            self.run.follow(event)
        run_in_thread(
            lambda: window_work.last_preview(run_dir), self._on_last_preview, self._on_read
        )
        if run.status == "running":
            self.complain("Another process is training this run; open it again to see how it is.")

    def _on_last_preview(self, preview: window_work.Preview) -> None:
        if not self.is_closing:
            self._previews.show(preview.volumes)

    def _on_resume(self) -> None:
        self.session.resume(self.setup.device.device())

    def preview_data(self) -> None:
        """Check the data, and add a layer with what the networks are given."""
        try:
            self._previewer.start(self.setup.request())
        except MrgenError as error:
            self.complain(str(error))

    def _on_preview_progress(self, step: Progress) -> None:
        self.setup.preview_progress.show_step(step)
        self._activity.show(step.message, step.fraction)

    def _on_surveyed(self, survey: Survey) -> None:
        self.setup.show_survey(survey)
        SurveyDialog(survey, self).show()

    def _on_previewed(self, preview: DataPreview) -> None:
        self.setup.show_data(preview)
        self._montage.show(preview.montage)

    def _on_preview_ended(self) -> None:
        self.setup.preview_progress.hide()
        self._activity.close()

    @property
    def plan(self) -> Plan | None:
        """What the training in the form will need, once that is known."""
        return self._planner.plan

    def show_model_summary(self) -> None:
        """Show the model's layers and the memory that it needs, as soon as they are known."""
        self._wants_summary = True
        if self._planner.plan is not None:
            self._on_planned(self._planner.plan)
        else:
            self.bar.headline.say("Measuring the model…")
            self._planner.plan_soon()

    def _on_planned(self, plan: Plan | None) -> None:
        self.setup.show_plan(plan)
        if plan is not None and self._wants_summary:
            self._wants_summary = False
            self.bar.show_state(self.session.state)
            ModelDialog(self.setup.family.title, plan, self).show()

    def _on_plan_failed(self, problem: str) -> None:
        if self._wants_summary:  # otherwise the form is only not complete yet
            self._wants_summary = False
            self.complain(problem)

    def open_generate(self) -> GeneratePanel:
        """Bring up the Generate panel, with the model of this run if there is one."""
        dock, panel = self._viewer.window.add_plugin_dock_widget(
            "napari-mrgen", "Generate", tabify=True
        )
        dock.raise_()
        if self.session.state.model is not None:
            panel.use_model(self.session.state.model)
        return cast("GeneratePanel", panel)

    def _on_enlarge(self) -> None:
        ScoreDialog(self.session.state.scoreboard, self).show()

    def _on_open_run(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open an earlier run")
        if folder:
            self.open_run(Path(folder))

    def _on_open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.session.state.run_dir)))

    def _on_tensorboard(self) -> None:
        if self.session.state.run_dir is not None:
            show_info("Starting TensorBoard; the web browser shows it in a few seconds…")
            self._tensorboard.open(self.session.state.run_dir / "tensorboard")

    def _on_side_by_side(self, on: bool) -> None:
        self._previews.show_side_by_side(on=on)
        self._show_preview_view()

    def _show_preview_view(self, _event: Any = None) -> None:
        """Let the buttons follow the view: napari has a button for 3-D too."""
        self.run.show_view(self._previews.is_in_3d, self._previews.is_side_by_side)

    def _on_replay(self) -> None:
        if (run_dir := self.session.state.run_dir) is not None:
            run_in_thread(
                lambda: window_work.replay_previews(run_dir), self._show_movie, self._on_read
            )

    def _show_movie(self, movie: Volume) -> None:
        self._previews.show_side_by_side(on=False)
        if self._previews.is_in_3d:
            self._previews.show_in_3d(on=False)
        self._show_preview_view()
        self._montage.show(movie)
        show_info("Each frame of the new layer is a preview: press play next to the slider.")

    def _on_read(self, error: BaseException | None) -> None:
        if error is not None:
            self.complain(window_work.failure_of(error).message)

    def _on_diagnostics(self) -> None:
        text = diagnostics(self.session.state, self.setup.config(), self.setup.device.describe())
        QApplication.clipboard().setText(text)
        show_info("Copied. Paste it into a report.")

    def _on_details(self) -> None:
        state = self.session.state
        box = QMessageBox(QMessageBox.Icon.Warning, "What went wrong", state.problem, parent=self)
        box.setInformativeText(state.advice)
        box.setDetailedText(state.details)
        box.open()

    # ------------------------------------------------------------ what the run reports

    def _on_state(self, state: RunState, event: Event | None) -> None:
        self.is_busy = state.is_busy
        if event is None and state.run_dir != self._shown_run:
            self._shown_run = state.run_dir
            self._show_new_run()
        if event is not None:
            self._follow(event)
        self.bar.show_state(state)
        self.run.show_state(state)
        if state.is_busy:
            self._activity.show(state.headline, state.shown_fraction)
        elif not self._previewer.is_busy:
            self._activity.close()
        if not state.is_busy:
            self.work_ended()
        self.state_changed.emit(state)

    def _show_new_run(self) -> None:
        self._planner.cancel()
        self._previewer.stop()
        self.run.clear()
        self._previews.forget()
        self._show_preview_view()
        self._montage.remove()
        self.tabs.setCurrentWidget(self.run)

    def _follow(self, event: Event) -> None:
        self.run.follow(event)
        match event:
            case window_work.Preview() if not self.is_closing:
                self._previews.show(event.volumes)
            case events.Warned():
                show_warning(event.message)
            case events.Failed():
                show_error(event.message)
            case events.Finished():
                remember.note("model", str(self.session.state.run_dir))
                show_info("The model is trained and saved.")

    def _on_theme(self, _event: Any = None) -> None:
        self.run.plot.set_colour(get_theme(self._viewer.theme).text.as_hex())
