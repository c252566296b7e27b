"""``demo``: train and predict on the built-in beating heart, in a window if there is a display."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from napari_mrgen.cli.options import add_device, add_json, print_json


def add_demo(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train on simulated beating hearts, predict the next 50 frames of one "
        "that was held out, and show it: in napari, or without a display as files."
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="the folder of its files"
    )
    parser.add_argument(
        "--no-window", action="store_true", help="write files without opening a window"
    )
    add_device(parser)
    add_json(parser)
    parser.set_defaults(run=show_demo)


def show_demo(options: argparse.Namespace) -> int:
    from napari_mrgen.app.outputs import check_folder

    check_folder(options.out)
    if has_display() and not (options.no_window or options.json):
        return _run_in_window(options.out)
    return _run_without_window(options)


def has_display() -> bool:
    """Whether napari is installed and has a screen to open on."""
    if importlib.util.find_spec("napari") is None:
        return False
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def _run_in_window(out: Path) -> int:
    from napari_mrgen.app import demo
    from napari_mrgen.widgets.launch import launch

    return launch(demo.FAMILY, demo.PRESET, run_dir=out, frames=demo.FRAMES, settings=demo.SETTINGS)


def _run_without_window(options: argparse.Namespace) -> int:
    from napari_mrgen.app import demo
    from napari_mrgen.cli.report import exit_code, report, stop_on_signals
    from napari_mrgen.engine.run.events import Finished

    files = demo.Demo(options.out)
    with stop_on_signals() as control:
        last = report(demo.train(files, control, options.device), as_json=options.json)
        if isinstance(last, Finished) and demo.predict(files, control, options.device):
            _print_files(files, as_json=options.json)
    return exit_code(last, files.run, control.exit_code)


def _print_files(files: object, *, as_json: bool) -> None:
    names = ("predicted", "movie", "figure", "cine", "run")
    paths = {name: str(getattr(files, name)) for name in names}
    if as_json:
        print_json(paths)
        return
    print(f"\nPredicted frames   {paths['predicted']}")
    print(f"Truth, prediction  {paths['movie']}")
    print(f"Figure             {paths['figure']}")
    print(f"Run                {paths['run']}")
