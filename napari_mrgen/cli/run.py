"""``run``: a list of jobs from a file, one after the other."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mrgen.cli.options import add_json, print_json
from napari_mrgen.errors import MrgenError, unknown

if TYPE_CHECKING:
    from napari_mrgen.app.jobs.file import Job, JobFile
    from napari_mrgen.app.jobs.run import JobOutcome, Report
    from napari_mrgen.app.result_folder import ScanResult

FIGURES_SHOWN = 3


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run the trainings and predictions of a YAML file, one after the other. A job that "
        "fails does not stop the rest; run again, the file continues where it stopped."
    )
    parser.epilog = "docs/how-to/jobs.md describes the file."
    parser.add_argument("file", type=Path, metavar="JOBS.yaml", help="the list of jobs")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="run this job only; may be repeated",
    )
    parser.add_argument("--check", action="store_true", help="check the file without running it")
    add_json(parser)
    parser.set_defaults(run=run_file)


def run_file(options: argparse.Namespace) -> int:
    from napari_mrgen.app.jobs.file import read_jobs

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise MrgenError(
            "A list of jobs takes one process; train with several by `torchrun ... train`."
        )
    file = read_jobs(options.file)
    jobs = _chosen(file, options.only)
    for line in file.translated:
        print(f"Note: {line}", file=sys.stderr)
    if options.check:
        from napari_mrgen.app.jobs.run import check_paths

        check_paths(jobs)
        for job in jobs:
            _check(job, as_json=options.json)
        return 0
    return _run(file, jobs, options)


def _chosen(file: JobFile, names: list[str]) -> tuple[Job, ...]:
    known = {job.name: job for job in file.jobs}
    for name in names:
        if name not in known:
            raise unknown("job", name, known)
    return tuple(job for job in file.jobs if not names or job.name in names)


def _check(job: Job, *, as_json: bool) -> None:
    from napari_mrgen.app.jobs.file import plain

    if as_json:
        print_json(plain(job))
    else:
        what = f"{job.family}, {job.preset}" if job.trains else str(job.model)
        print(f"{job.name}: {job.task} ({what}) -> {job.out}")


def _run(file: JobFile, jobs: tuple[Job, ...], options: argparse.Namespace) -> int:
    from napari_mrgen.app.jobs.run import JobSummary, run_jobs, summary_file
    from napari_mrgen.cli.report import stop_on_signals
    from napari_mrgen.service.export import export_model

    with stop_on_signals() as control:
        reports = run_jobs(jobs, control, notices=file.notify, export=export_model)
        show = _print_lines if not options.json else _print_records
        summary = JobSummary(jobs, tuple(show(reports, len(jobs))))
    if options.json:
        print_json({"event": "Summary", "jobs": [_facts(outcome) for outcome in summary.outcomes]})
    else:
        _print_summary(summary)
    path = summary_file(file.jobs)
    if path is not None and len(jobs) == len(file.jobs) and path.parent.is_dir():
        try:
            summary.write(path)
        except OSError as error:
            print(f"napari-mrgen: {path} cannot be written: {error.strerror}.", file=sys.stderr)
    return control.exit_code or min(len(summary.failed), 1)


def _print_summary(summary: Any) -> None:
    from napari_mrgen.cli.report import table_lines

    print()
    print("\n".join(table_lines(summary.rows(FIGURES_SHOWN))))
    for outcome in summary.failed:
        print(f"napari-mrgen: {outcome.job.name}: {outcome.problem}", file=sys.stderr)


def _print_lines(reports: Iterable[Report], count: int) -> Iterator[JobOutcome]:
    """Show what jobs say, in words; pass on how each has ended."""
    from napari_mrgen.app.jobs.run import JobOutcome, JobProgress, JobStarted
    from napari_mrgen.cli.generate import print_result
    from napari_mrgen.cli.report import event_lines, reporter
    from napari_mrgen.engine.run.events import Event

    begun = 0
    with ExitStack() as stack:
        for report in reports:
            match report:
                case JobStarted(job):
                    begun += 1
                    print(f"\n{job.name} ({job.task}), job {begun} of {count}", flush=True)
                    show = stack.enter_context(reporter(as_json=False))
                case JobProgress(event=event):
                    if isinstance(event, Event):
                        show(event)
                    else:
                        print_result(event, as_json=False)
                case JobOutcome():
                    stack.close()
                    why = f": {report.problem}" if report.problem else ""
                    print(f"{report.job.name} {report.state}{why}", flush=True)
                    yield report
                case _:
                    print("\n".join(event_lines(report)), flush=True)


def _print_records(reports: Iterable[Report], count: int) -> Iterator[JobOutcome]:
    """Print a JSON line for each report; pass on how each job has ended."""
    from napari_mrgen.app.jobs.run import JobOutcome, JobProgress, JobStarted
    from napari_mrgen.engine.run.events import Event
    from napari_mrgen.engine.run.journal import write_event

    for report in reports:
        match report:
            case JobStarted(job):
                print_json({"event": "JobBegan", "job": job.name, "of": count})
            case JobProgress(job, said):
                facts = write_event(said) if isinstance(said, Event) else _scan_facts(said)
                print_json({"job": job.name, **facts})
            case JobOutcome():
                print_json(_facts(report))
                yield report
            case _:
                print_json(write_event(report))


def _scan_facts(done: ScanResult) -> dict[str, Any]:
    return {"event": "ScanDone", **vars(done), "results": [str(path) for path in done.results]}


def _facts(outcome: JobOutcome) -> dict[str, Any]:
    facts = {key: value for key, value in vars(outcome).items() if key != "job"}
    job = outcome.job
    return {"event": "JobEnded", "job": job.name, "task": job.task, "out": str(job.out), **facts}
