"""``resume``, ``watch`` and ``movie``: commands on an existing run folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_mrgen.cli.options import add_device, add_inputs, add_json, parse_paths


def add_resume(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Continue a run exactly where it stopped: the result is that of an uninterrupted run."
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="its folder")
    add_inputs(parser, help="where the scans are now, if they have moved; may be repeated")
    add_device(parser)
    add_json(parser)
    parser.set_defaults(run=run_resume)


def add_watch(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show a run from its start and follow it to its end; Ctrl-C leaves it alone."
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="its folder")
    parser.add_argument("--once", action="store_true", help="show what there is, and stop")
    add_json(parser)
    parser.set_defaults(run=run_watch)


def add_movie(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write the previews of a run as a movie, also while it still trains."
    parser.add_argument("folder", type=Path, metavar="RUN", help="its folder")
    parser.add_argument("--out", type=Path, required=True, help="the movie: .gif, .mp4 or .png")
    parser.add_argument("--stage", metavar="NAME", help="the stage to replay (default: the last)")
    parser.add_argument("--overwrite", action="store_true", help="replace a movie that exists")
    parser.set_defaults(run=run_movie)


def run_resume(options: argparse.Namespace) -> int:
    from napari_mrgen.app.python import resume
    from napari_mrgen.cli.report import exit_code, report, stop_on_signals

    with stop_on_signals() as control:
        moved: dict[str, Any] = parse_paths(options.inputs)
        events = resume(options.folder, device=options.device, control=control, **moved)
        last = report(events, as_json=options.json)
    return exit_code(last, options.folder, control.exit_code)


def run_watch(options: argparse.Namespace) -> int:
    from napari_mrgen.app.outputs import check_run
    from napari_mrgen.cli.report import exit_code, report
    from napari_mrgen.engine.run.folder import watch

    check_run(options.folder)
    events = watch(options.folder, follow=not options.once)
    return exit_code(report(events, as_json=options.json), options.folder)


def run_movie(options: argparse.Namespace) -> int:
    from napari_mrgen.app.info import replay
    from napari_mrgen.app.outputs import check_free, check_run
    from napari_mrgen.io.movies import write_movie

    check_run(options.folder)
    check_free(options.out, overwrite=options.overwrite)
    shown = replay(options.folder, options.stage)
    for path in write_movie(shown, options.out):
        print(path)
    return 0
