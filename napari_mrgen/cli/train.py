"""``train``: plan or run a training."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mrgen.cli.options import (
    add_device,
    add_inputs,
    add_json,
    add_settings,
    apply_settings,
    parse_paths,
    print_json,
    read_text,
)
from napari_mrgen.errors import MrgenError
from napari_mrgen.wording import format_size

if TYPE_CHECKING:
    from napari_mrgen.engine.device import Device
    from napari_mrgen.engine.family import Advice, Family, Plan, TrainConfig

DEFAULT_PRESET = "base"


def add_train(parser: argparse.ArgumentParser) -> None:
    parser.description = "Train a model into a new run folder. Ctrl-C stops and saves it."
    parser.epilog = "`napari-mrgen families FAMILY` lists its inputs, presets and settings."
    parser.add_argument("family", metavar="FAMILY", help="such as frame_prediction")
    add_inputs(parser)
    parser.add_argument("--out", type=Path, metavar="RUN", help="the run folder to make")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--preset", metavar="NAME", help="tiny, quick, base or published (default: base)"
    )
    start.add_argument("--config", type=Path, metavar="FILE", help="a YAML file of settings")
    add_settings(parser)
    add_device(parser)
    parser.add_argument("--precision", default="auto", help="auto, 32-true or bf16-mixed")
    parser.add_argument("--stage", metavar="NAME", help="train this stage alone")
    parser.add_argument(
        "--start-from", type=Path, metavar="MODEL", help="start from the weights of this model"
    )
    parser.add_argument(
        "--split", type=Path, metavar="FILE", help="JSON file of the subjects to train and test on"
    )
    parser.add_argument(
        "--subject-from",
        default="auto",
        metavar="HOW",
        help="how subjects are distinguished: auto, folder, name or a regular expression",
    )
    parser.add_argument(
        "--include-synthetic",
        action="store_true",
        help="train on generated scans too, but for those whose source is held out",
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="report memory, parameters and what happens to each scan, without training",
    )
    parser.add_argument(
        "--unread",
        action="store_true",
        help="with --plan: leave out what needs all scans to be read",
    )
    add_json(parser)
    parser.set_defaults(run=run_train)


def run_train(options: argparse.Namespace) -> int:
    from napari_mrgen import families
    from napari_mrgen.app.python import check_stages

    family = families.get(options.family)
    config = choose_config(family, options)
    paths = parse_paths(options.inputs)
    if options.plan:
        check_stages(family, config, options.stage, options.start_from)
        return _plan(family, config, paths, options)
    if options.out is None:
        msg = "Say where the run goes: --out RUN."
        raise MrgenError(msg)
    return _train(family, config, paths, options)


def choose_config(family: Family, options: argparse.Namespace) -> TrainConfig:
    """Return the preset or the file's settings, with those of ``--set`` on top."""
    config: TrainConfig
    if options.config is not None:
        config = family.train_config.from_yaml(read_text(options.config))
    else:
        config = family.preset(options.preset or DEFAULT_PRESET)
    return apply_settings(config, options.settings)


def _train(
    family: Family, config: TrainConfig, paths: dict[str, list[Path]], options: argparse.Namespace
) -> int:
    from napari_mrgen.app.python import start_training
    from napari_mrgen.cli.report import exit_code, report, stop_on_signals

    with stop_on_signals() as control:
        events = start_training(
            family,
            config,
            paths,
            options.out,
            control,
            split=options.split,
            subject_from=options.subject_from,
            include_synthetic=options.include_synthetic,
            device=options.device,
            precision=options.precision,
            stage=options.stage,
            start_from=options.start_from,
        )
        last = report(events, as_json=options.json)
    return exit_code(last, options.out, control.exit_code)


def _plan(
    family: Family, config: TrainConfig, paths: dict[str, list[Path]], options: argparse.Namespace
) -> int:
    from napari_mrgen.app.data_report import report_data
    from napari_mrgen.app.inputs import gather
    from napari_mrgen.cli.report import data_lines, survey_lines, surveyed
    from napari_mrgen.engine.device import choose_device, choose_precision, device_info
    from napari_mrgen.engine.family import SurveysData
    from napari_mrgen.engine.memory.advice import plan_to_fit

    inputs = gather(
        family,
        paths,
        config,
        options.split,
        subject_from=options.subject_from,
        include_synthetic=options.include_synthetic,
    )
    chosen = choose_device(options.device)
    precision = choose_precision(options.precision, chosen)
    device = device_info(chosen)
    plan = plan_to_fit(family, config, inputs, precision, device.free_bytes)
    survey = report = None
    if not options.unread:
        report = report_data(family, paths, inputs)
        if isinstance(family, SurveysData):
            survey = surveyed(family.survey(config, inputs))
    if options.json:
        shown = {} if survey is None else {"survey": asdict(survey)}
        data = {} if report is None else report.facts()
        print_json({**asdict(plan), **shown, **data, "device": asdict(device)})
        return 0
    if report is not None:
        print("\n".join(data_lines(report)), end="\n\n")
    if survey is not None:
        print("\n".join(survey_lines(survey)), end="\n\n")
    _print_plan(plan, device)
    return 0


def _print_plan(plan: Plan, device: Device) -> None:
    from napari_mrgen.cli.report import table_lines

    rows = [("layer", "output", "parameters"), *((n, s, f"{p:,}") for n, s, p in plan.layers)]
    print("\n".join(table_lines(rows)))
    print(f"\nSample shape   {' x '.join(map(str, plan.shape))}")
    print(f"Parameters     {plan.parameters:,}")
    print(f"FLOPs a step   {plan.flops_per_step:.2e}")
    print(f"Precision      {plan.precision}")
    free = f"{format_size(device.free_bytes)} free on {device.title}"
    print(f"Memory         {format_size(plan.memory_bytes)}, {free}")
    for note in plan.notes:
        print(f"Note: {note}")
    if plan.memory_bytes > device.free_bytes:
        print("\n".join(_advice_lines(plan)))


def _advice_lines(plan: Plan) -> list[str]:
    """List what makes a training fit into memory, with the options that do it."""
    if not plan.advice:
        return ["It does not fit, and no setting makes it fit: choose a smaller preset or network."]
    rows = [
        (f"  {advice.title}", format_size(advice.memory_bytes), _options(plan, advice))
        for advice in plan.advice
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(2)]
    return [
        "It does not fit. With one of these it does:",
        *(f"{title:{widths[0]}}  {size:>{widths[1]}}  {how}" for title, size, how in rows),
    ]


def _options(plan: Plan, advice: Advice) -> str:
    settings = [f"--set {name}={value}" for name, value in advice.changes.items()]
    if advice.precision != plan.precision:
        settings.append(f"--precision {advice.precision}")
    return " ".join(settings)
