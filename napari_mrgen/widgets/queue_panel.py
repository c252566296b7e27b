"""Queue panel: trainings that wait for each other, overnight or longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from html import escape
from pathlib import Path

from napari import Viewer
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)

from napari_mrgen.app.jobs.file import Job, JobFile, read_jobs, write_jobs
from napari_mrgen.app.jobs.notify import Notices
from napari_mrgen.app.jobs.queue import Entry, Queue, as_job, run_queue
from napari_mrgen.app.jobs.run import JobOutcome, Report
from napari_mrgen.app.window_work import failure_of
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.run.events import Warned
from napari_mrgen.errors import MrgenError
from napari_mrgen.widgets import remember
from napari_mrgen.widgets.panel import Panel
from napari_mrgen.widgets.parts import Note, ShareBar, button, row
from napari_mrgen.widgets.worker import run_in_thread

EMPTY = "Set up a training in the Train panel, then press Add; or load a file of jobs."
FILES = "Jobs (*.yaml *.yml)"
_ADD = "Put the training that stands in the Train panel at the end of the queue"
_REMOVE = "Take this job out of the queue; what it has written stays"
_AGAIN = "Add the jobs that were not finished when napari was closed"


def _export_model(model: Path, out: Path) -> Iterator[object]:
    from napari_mrgen.service.export import export_model  # here, since it imports torch

    return export_model(model, out)


class QueuePanel(Panel):
    """The dock widget: the list of jobs, its buttons, and the progress."""

    closing_message = "The queue was closed: its run is being stopped and saved."

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.queue = Queue()
        self._notices: Notices | None = None
        self._control = Control()
        self._file = remember.folder() / "queue.yaml"
        self._kept: tuple[Job, ...] = ()
        self._lay_out()
        self._again.setHidden(not self._file.exists())
        self._show()

    # ------------------------------------------------------------ layout

    def _lay_out(self) -> None:
        self.list = QTreeWidget()
        self.list.setObjectName("jobs")
        self.list.setHeaderLabels(["Job", "State"])
        self.list.setRootIsDecorated(False)
        header = self.list.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.list.currentItemChanged.connect(lambda _now, _before: self._show_chosen())
        self._predicts = QCheckBox("and predict what is held out")
        self._predicts.setObjectName("predicts")
        self._message = Note()
        self._message.setObjectName("message")
        self._bar = ShareBar()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        self._add = button("Add", self.add, _ADD)
        layout.addLayout(row(self._add, self._predicts))
        layout.addWidget(self.list, stretch=1)
        layout.addLayout(self._list_buttons())
        layout.addWidget(self._message)
        layout.addWidget(self._bar)
        layout.addWidget(self.headline)
        layout.addLayout(self._run_buttons())

    def _list_buttons(self) -> QVBoxLayout:
        self._up = button("Up", lambda: self._move(-1), "Let this job begin earlier")
        self._down = button("Down", lambda: self._move(1), "Let this job begin later")
        self._remove = button("Remove", self._on_remove, _REMOVE)
        self._open = button("Open folder", self._on_open, "Show what this job has written")
        both = QVBoxLayout()
        both.addLayout(row(self._up, self._down, self._remove))
        both.addLayout(row(self._open))
        return both

    def _run_buttons(self) -> QVBoxLayout:
        self._start = button("Start", self.start, "Do the jobs, from first to last")
        self._stop = button("Stop", self.stop, "Save the run that goes on, and end it")
        self._load = button("Load…", self._on_load, "Add the jobs of a file")
        self._save = button("Save…", self._on_save, "Write these jobs to a file")
        both = QVBoxLayout()
        self._again = button("Queue of last time", self._on_again, _AGAIN, "again")
        both.addLayout(row(self._start, self._stop))
        both.addLayout(row(self._load, self._save))
        both.addLayout(row(self._again))
        return both

    # ------------------------------------------------------------ what the user asked for

    def add(self) -> None:
        """Put the training that the Train panel shows at the end of the queue."""
        _, train = self._viewer.window.add_plugin_dock_widget("napari-mrgen", "Train", tabify=True)
        try:
            request = train.setup.request()
        except MrgenError as error:
            self.complain(str(error))
            return
        request = replace(request, run_dir=self._free_folder(request.run_dir))
        predicts = self._predicts.isChecked()
        self.headline.say("Keeping what it trains on…")
        self._add.setEnabled(False)
        run_in_thread(lambda: as_job(request, predicts=predicts), self._on_queued, self._on_kept)

    def _free_folder(self, folder: Path) -> Path:
        """Number the folders of jobs that are added within one second."""
        taken = {entry.job.out for entry in self.queue.entries}
        path, number = folder, 1
        while path in taken or path.exists():
            number += 1
            path = folder.with_name(f"{folder.name}-{number}")
        return path

    def _on_queued(self, job: Job) -> None:
        self._try(lambda: self.queue.add([job]))
        self._show()

    def _on_kept(self, error: BaseException | None) -> None:
        self._add.setEnabled(True)
        if error is not None:
            self.complain(failure_of(error).message)

    def load(self, path: Path) -> None:
        """Add the jobs of a file, and take over whom it notifies."""
        file: JobFile = read_jobs(path)
        self.queue.add(file.jobs)
        self._notices = file.notify or self._notices
        self._show()
        if file.translated:
            self.headline.say("\n".join(file.translated))

    def save(self, path: Path) -> None:
        write_jobs([entry.job for entry in self.queue.entries], path, self._notices)

    def start(self) -> None:
        """Do what is not finished, from first to last."""
        if self.is_busy or not self.queue.can_start:
            return
        self.queue.wait_again()
        self._control = control = Control()
        self.is_busy = True
        run_in_thread(
            lambda: run_queue(self.queue.take, self._notices, control, _export_model),
            self._on_report,
            self._on_end,
        )
        self._show()

    def stop(self) -> None:
        """Ask for the run that goes on to be saved and ended; the others wait on."""
        self._control.stop()
        self._show()

    def _move(self, by: int) -> None:
        index = self._chosen()
        if index is not None:
            self._show(self.queue.move(index, by))

    def _on_remove(self) -> None:
        index = self._chosen()
        if index is not None:
            self.queue.remove(index)
            self._show(min(index, len(self.queue.entries) - 1))

    def _on_open(self) -> None:
        index = self._chosen()
        if index is not None:
            out = self.queue.entries[index].job.out
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(out)))

    def _on_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load jobs", "", FILES)
        if name:
            self._try(lambda: self.load(Path(name)))

    def _on_again(self) -> None:
        self._try(lambda: self.load(self._file))

    def _on_save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save jobs", "jobs.yaml", FILES)
        if name:
            self._try(lambda: self.save(Path(name)))

    # ------------------------------------------------------------ what the jobs report

    def _on_report(self, report: Report) -> None:
        self.queue.follow(report)
        match report:
            case JobOutcome(state="failed"):
                show_error(f"{report.job.name}: {report.problem}")
            case Warned():
                show_warning(report.message)
        self._show()

    def _on_end(self, error: BaseException | None) -> None:
        self.is_busy = False
        self.queue.end()
        self.work_ended()
        self._show()
        if error is not None:
            self.complain(failure_of(error).message)
        else:
            show_info(f"The queue has ended: {self.queue.summary}.")

    # ------------------------------------------------------------ what is shown

    def _chosen(self) -> int | None:
        index = self.list.indexOfTopLevelItem(self.list.currentItem())
        return index if index >= 0 else None

    def _show(self, chosen: int | None = None) -> None:
        """Show the list as it is now, with the same job chosen, or the one of that number."""
        chosen = self._chosen() if chosen is None else chosen
        entries = self.queue.entries
        self._fit_rows(len(entries))
        for index, entry in enumerate(entries):
            _write(self.list.topLevelItem(index), entry)
        if chosen is not None and 0 <= chosen < len(entries):
            self.list.setCurrentItem(self.list.topLevelItem(chosen))
        self._start.setEnabled(not self.is_busy and self.queue.can_start)
        self._stop.setEnabled(self.is_busy and not self._control.is_stopped)
        self._save.setEnabled(bool(entries))
        self.headline.say(self.queue.summary or EMPTY)
        running = self.queue.running
        self._bar.setVisible(running is not None)
        self._bar.show_share(running.share if running else None)
        self._show_chosen()
        self._keep()

    def _keep(self) -> None:
        """Keep what is not finished for the next start of napari."""
        left = tuple(entry.job for entry in self.queue.entries if entry.state != "finished")
        if left == self._kept:
            return
        self._kept = left
        self._again.hide()
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if left:
                write_jobs(left, self._file, self._notices)
            else:
                self._file.unlink(missing_ok=True)

    def _fit_rows(self, count: int) -> None:
        while self.list.topLevelItemCount() > count:
            self.list.takeTopLevelItem(count)
        while self.list.topLevelItemCount() < count:
            self.list.addTopLevelItem(QTreeWidgetItem())

    def _show_chosen(self) -> None:
        """Say all that is known of the job that is chosen, or else of the one that runs."""
        index = self._chosen()
        entry = self.queue.entries[index] if index is not None else None
        for one in (self._up, self._down, self._open):
            one.setEnabled(entry is not None)
        self._remove.setEnabled(entry is not None and entry.may_move)
        shown = entry or self.queue.running
        text = (shown.message or shown.text) if shown else ""
        self._message.say(text, warning=bool(shown and shown.state == "failed"))

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except (MrgenError, OSError) as error:
            self.complain(str(error))


def _write(item: QTreeWidgetItem, entry: Entry) -> None:
    share = "" if entry.share is None else f" {entry.share:.0%}"
    item.setText(0, entry.job.name)
    item.setText(1, f"{entry.state}{share}")
    item.setToolTip(0, f"<p>{escape(entry.text)}</p><p>{escape(str(entry.job.out))}</p>")
    item.setToolTip(1, entry.message)
    item.setTextAlignment(1, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
