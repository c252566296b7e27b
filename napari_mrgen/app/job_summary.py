"""What became of a list of jobs, as one table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_mrgen.app.jobs.file import Job
from napari_mrgen.app.jobs.run import Outcome
from napari_mrgen.io.files import drafted

SUMMARY = "summary.csv"
WAITING = "waiting"
_COLUMNS = ("job", "task", "state", "seconds", "problem", "out")


@dataclass(frozen=True)
class Summary:
    """All jobs of a list, those that never had their turn too."""

    jobs: tuple[Job, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.state == "failed")

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of all figures that any job has, in the order in which they come."""
        return tuple(dict.fromkeys(name for o in self.outcomes for name in o.figures))

    def rows(self, most_figures: int) -> list[tuple[str, ...]]:
        """Return the table in words, with its head; figures that no job has are left out."""
        names = self.figures[:most_figures]
        ended = {outcome.job.name: outcome for outcome in self.outcomes}
        rows = [("job", "task", "state", "time", *names)]
        for job in self.jobs:
            outcome = ended.get(job.name)
            if outcome is None:
                rows.append((job.name, job.task, WAITING, "–", *("–" for _ in names)))
                continue
            cells = (outcome.figures.get(name) for name in names)
            shown = ("–" if value is None else f"{value:.4g}" for value in cells)
            rows.append((job.name, job.task, outcome.state, _duration(outcome.seconds), *shown))
        return rows

    def write(self, path: Path) -> None:
        """Write the table with all figures as CSV."""
        with drafted(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow((*_COLUMNS, *self.figures))
            for outcome in self.outcomes:
                job = outcome.job
                facts = (job.name, job.task, outcome.state, f"{outcome.seconds:.1f}")
                figures = (outcome.figures.get(name, "") for name in self.figures)
                table.writerow((*facts, outcome.problem, job.out, *figures))


def summary_file(jobs: Sequence[Job]) -> Path | None:
    """Return where the table goes: beside the folders of the jobs, if they are in one folder."""
    parents = {job.out.parent for job in jobs}
    return parents.pop() / SUMMARY if len(parents) == 1 else None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
