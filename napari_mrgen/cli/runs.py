"""``resume``, ``watch`` and ``movie``: run folders that exist."""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_mrgen.cli.options import Commands, add_device, add_json


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "resume",
        help="go on with a run that was stopped or killed",
        description="Go on with a run exactly where it was, as if nothing had happened.",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="its folder")
    add_device(parser)
    add_json(parser)
    parser.set_defaults(run=resume)
    parser = commands.add_parser(
        "watch",
        help="follow a run that another process trains",
        description="Show a run from its start and follow it to its end; Ctrl-C leaves it alone.",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="its folder")
    parser.add_argument("--once", action="store_true", help="show what there is, and stop")
    add_json(parser)
    parser.set_defaults(run=watch)
    parser = commands.add_parser(
        "movie",
        help="replay the previews of a run as a movie",
        description="Write the previews of a run as a movie, also while it still trains.",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="its folder")
    parser.add_argument("--out", type=Path, required=True, help="the movie: .gif, .mp4 or .png")
    parser.add_argument("--stage", metavar="NAME", help="of this stage (default: the last)")
    parser.add_argument("--overwrite", action="store_true", help="replace a movie that exists")
    parser.set_defaults(run=movie)


def resume(options: argparse.Namespace) -> int:
    from napari_mrgen import families
    from napari_mrgen.app.outputs import check_run
    from napari_mrgen.cli.report import exit_code, report
    from napari_mrgen.cli.signals import steered
    from napari_mrgen.engine.fit import resume

    check_run(options.folder)
    with steered() as control:
        events = resume(options.folder, families.get, control, device=options.device)
        last = report(events, as_json=options.json)
    return exit_code(last, options.folder, control.exit_code)


def watch(options: argparse.Namespace) -> int:
    from napari_mrgen.app.outputs import check_run
    from napari_mrgen.cli.report import exit_code, report
    from napari_mrgen.engine.run.folder import watch

    check_run(options.folder)
    events = watch(options.folder, follow=not options.once)
    return exit_code(report(events, as_json=options.json), options.folder)


def movie(options: argparse.Namespace) -> int:
    from napari_mrgen.app.outputs import check_free, check_run
    from napari_mrgen.app.replay import replay
    from napari_mrgen.io.movies import write_movie

    check_run(options.folder)
    check_free(options.out, overwrite=options.overwrite)
    shown = replay(options.folder, options.stage)
    for path in write_movie(shown, options.out):
        print(path)
    return 0
