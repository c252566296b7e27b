"""``evaluate``: score a trained model on held-out subjects, beside baselines."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mrgen.cli.options import (
    add_device,
    add_inputs,
    add_json,
    parse_paths,
    print_json,
)
from napari_mrgen.errors import MrgenError

if TYPE_CHECKING:
    from napari_mrgen.metrics.scoreboard import Score, Scoreboard


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Score a model, and baselines beside it, on subjects that it was "
        "not trained on: those of the given inputs, or else of its own run."
    )
    parser.add_argument("model", type=Path, metavar="RUN_OR_MODEL", help="run or .safetensors file")
    add_inputs(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the report as JSON")
    parser.add_argument(
        "--figure", type=Path, metavar="FILE.png",
        help="plot the results beside real images: samples with their spectra, histograms and "
        "near-copies of training images, or translated volumes with their differences",
    )  # fmt: skip
    parser.add_argument("--split", type=Path, metavar="FILE", help="the split it was trained with")
    parser.add_argument("--all", action="store_true", help="score trained subjects too")
    add_device(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a report that exists")
    add_json(parser)
    parser.set_defaults(run=run_evaluate)


def run_evaluate(options: argparse.Namespace) -> int:
    from napari_mrgen.app.outputs import check_free

    for path in (options.out, options.figure):
        if path is not None:
            check_free(path, overwrite=options.overwrite)
    if options.figure is not None and options.figure.suffix.lower() != ".png":
        msg = f"A figure is written as .png, got {options.figure.name}; choose such a name."
        raise MrgenError(msg)

    from napari_mrgen.app.evaluate import choose_inputs, illustrate, scores
    from napari_mrgen.cli.report import stop_on_signals
    from napari_mrgen.metrics.scoreboard import tabulate

    paths = parse_paths(options.inputs)
    inputs = choose_inputs(options.model, paths, split_file=options.split, everyone=options.all)
    plot = None
    if options.figure is not None:
        print("Generating the images of the figure", file=sys.stderr, flush=True)
        plot = illustrate(options.model, inputs, device=options.device)
    results: list[Score] = []
    with stop_on_signals() as control:
        for score in scores(options.model, inputs, device=options.device, control=control):
            if not results or results[-1].subject != score.subject:
                print(f"Scoring {score.subject}", file=sys.stderr, flush=True)
            results.append(score)
    if not control.exit_code:
        if plot is not None:
            plot(results, options.figure)
        _report(tabulate(results), results, options)
    return control.exit_code


def _report(scoreboard: Scoreboard, results: list[Score], options: argparse.Namespace) -> None:
    from napari_mrgen.cli.report import scoreboard_lines
    from napari_mrgen.engine.run.folder import write_json
    from napari_mrgen.engine.run.journal import write_scoreboard

    report = {
        "model": str(options.model),
        **write_scoreboard(scoreboard),
        "subjects": [vars(score) for score in results],
    }
    if options.out is not None:
        write_json(options.out, report)
    if options.json:
        print_json(report)
    else:
        print("\n".join(scoreboard_lines(scoreboard)))
