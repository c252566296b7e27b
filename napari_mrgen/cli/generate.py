"""``generate``: use a trained model."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
)
from napari_mrgen.cli.report import SECONDS_BETWEEN_LINES
from napari_mrgen.errors import MrgenError
from napari_mrgen.wording import printable

if TYPE_CHECKING:
    from napari_mrgen.app.generate import VolumeGenerator
    from napari_mrgen.app.outputs import Outputs
    from napari_mrgen.app.result_folder import SampleFolder, ScanResult
    from napari_mrgen.engine.family import Family, GenerateConfig
    from napari_mrgen.volume import Volume


def add_generate(parser: argparse.ArgumentParser) -> None:
    parser.description = "Generate with a trained model, and save every result with its provenance."
    parser.add_argument(
        "model",
        metavar="RUN_OR_MODEL",
        help="run or .safetensors file; or the address of a service, for the model that it has",
    )
    add_inputs(parser)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="PATH",
        help="a file that ends in .nii.gz, .nii, .gif, .mp4 or .png (further results add their "
        "name), or a folder for one file a sample and a table; where the input is a folder too, "
        "for the results of each of its scans",
    )
    parser.add_argument(
        "--format",
        choices=("png", "nifti"),
        default="png",
        help="format of slices in a folder; png has 16 bits (default: png). Volumes are always "
        "written as NIfTI.",
    )
    add_settings(parser)
    parser.add_argument("--seed", metavar="N", help="same as --set seed=N")
    add_device(parser, or_service=True)
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    add_json(parser)
    parser.set_defaults(run=run_generate)


def _warn_of_names(family: Family, inputs: Mapping[str, Path]) -> None:
    """Warn where the name of a file contradicts the input that it is given as."""
    for one in family.generate_inputs:
        path = inputs.get(one.role)
        if path is None or not path.is_file() or one.is_named(path) is not False:
            continue
        others = [other.title for other in family.generate_inputs if other.is_named(path)]
        kind = others[0] if others else f"not {one.title}"
        text = f"{path.name} is {kind} by its name, but given as {one.title}"
        print(f"napari-mrgen: {text}.", file=sys.stderr)


def run_generate(options: argparse.Namespace) -> int:
    from napari_mrgen import families
    from napari_mrgen.app.cases import folder_role
    from napari_mrgen.app.outputs import Outputs, is_folder
    from napari_mrgen.app.result_folder import SampleFolder
    from napari_mrgen.cli.report import stop_on_signals
    from napari_mrgen.engine.run.model_header import read_header
    from napari_mrgen.service.client import is_address

    service = _generator_for(None, options.model) if is_address(options.model) else None
    family = service.family if service else families.get(read_header(Path(options.model)).family)
    settings = options.settings + ([f"seed={options.seed}"] if options.seed is not None else [])
    config = apply_settings(family.generate_config(), settings)
    inputs = {role: _only(role, paths) for role, paths in parse_paths(options.inputs).items()}
    _warn_of_names(family, inputs)
    target: Outputs | SampleFolder
    if is_folder(options.out) and folder_role(family.generate_inputs, inputs):
        generator = service or _generator_for(Path(options.model), options.device)
        return _fill_with_results(options, config, inputs, generator)
    if is_folder(options.out):
        target = SampleFolder(options.out, options.format, overwrite=options.overwrite)
    else:
        target = Outputs(options.out, options.overwrite)

    from napari_mrgen.app.generate import collect

    generator = service or _generator_for(Path(options.model), options.device)
    with stop_on_signals() as control:
        results = generator.generate(inputs, config, control)
        if isinstance(target, SampleFolder):
            _fill(results, target, config.results, as_json=options.json)
        else:
            for volume in collect(results):
                _save(volume, target, as_json=options.json)
    return control.exit_code


def _generator_for(model: Path | None, device: str) -> VolumeGenerator:
    """Load the model, or reach the service that has it."""
    from napari_mrgen.service.client import generator_for

    return generator_for(model, device)


def _fill_with_results(
    options: argparse.Namespace,
    config: GenerateConfig,
    inputs: Mapping[str, Path],
    generator: VolumeGenerator,
) -> int:
    """Generate for every scan of a folder; return 1 where one fails."""
    from napari_mrgen.app.cases import find_cases
    from napari_mrgen.app.result_folder import ResultFolder, generate_folder
    from napari_mrgen.cli.report import stop_on_signals

    cases = find_cases(generator.family.generate_inputs, inputs, options.out)
    folder = ResultFolder(options.out, generator.record(config), options.overwrite)
    results: list[ScanResult] = []
    with stop_on_signals() as control:
        for done in generate_folder(generator, cases, config, folder, control):
            results.append(done)
            print_result(done, as_json=options.json)
    failed = sum(bool(done.problem) for done in results)
    if not options.json:
        kept = sum(done.is_kept for done in results)
        before = f" ({kept} of them from before)" if kept else ""
        print(f"{len(results) - failed} of {len(cases)} scans are in {options.out}{before}.")
    if failed:
        print(f"{failed} failed; {options.out / 'scans.csv'} has the reasons.", file=sys.stderr)
    return control.exit_code or min(failed, 1)


def print_result(done: ScanResult, *, as_json: bool) -> None:
    """Print the results of one scan, or its problem."""
    if as_json:
        paths = [str(path) for path in done.results]
        print_json({**vars(done), "scan": str(done.scan), "results": paths})
    elif done.problem:
        place = f"{done.number}/{done.total} {printable(done.scan.name)}"
        print(f"{place}: {done.problem}", file=sys.stderr, flush=True)
    elif not done.is_kept:
        names = ", ".join(printable(path.name) for path in done.results)
        scan = printable(done.scan.name)
        print(f"{done.number}/{done.total} {scan}: {names}", flush=True)


def _fill(results: Iterable[Volume], folder: SampleFolder, total: int, *, as_json: bool) -> None:
    """Write results into a folder as they come, and show the progress."""
    with folder, _counter(total, as_json=as_json) as show_count:
        for volume in results:
            paths = folder.save(volume)
            if volume.samples is not None:
                show_count(folder.count)
            else:
                _print_volume(volume, paths, as_json=as_json)
    if folder.count and not as_json:
        print(f"{folder.count} of {total} samples are in {folder.path}.", flush=True)


@contextmanager
def _counter(total: int, *, as_json: bool) -> Iterator[Callable[[int], None]]:
    """Provide what shows a count: a bar on a terminal, lines in a pipe, or JSON."""
    if as_json:
        yield lambda count: print_json({"samples": count, "of": total})
    elif sys.stdout.isatty():
        from rich.progress import Progress

        with Progress() as progress:
            task = progress.add_task("Samples", total=total)
            yield lambda count: progress.update(task, completed=count)
    else:
        yield _Lines(total)


class _Lines:
    """A line at most every ten seconds."""

    def __init__(self, total: int) -> None:
        self._total, self._due = total, 0.0

    def __call__(self, count: int) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + SECONDS_BETWEEN_LINES
            print(f"{count} of {self._total} samples", flush=True)


def _save(volume: Volume, outputs: Outputs, *, as_json: bool) -> None:
    _print_volume(volume, outputs.save(volume), as_json=as_json)


def _print_volume(volume: Volume, paths: Sequence[Path], *, as_json: bool) -> None:
    if as_json:
        facts = {"name": volume.name, "axes": volume.axes, "shape": list(volume.array.shape)}
        print_json({"paths": [str(path) for path in paths], **facts})
    else:
        size = " x ".join(map(str, volume.array.shape))
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        print(f"{paths[0]}{more}  {volume.name}, {volume.axes} {size}", flush=True)


def _only(role: str, paths: list[Path]) -> Path:
    if len(paths) > 1:
        msg = f"The input {role!r} takes one path here, got {len(paths)}; generate once for each."
        raise MrgenError(msg)
    return paths[0]
