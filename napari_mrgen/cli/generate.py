"""``generate``: use a trained model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mrgen.cli.options import (
    Commands,
    add_device,
    add_inputs,
    add_json,
    add_settings,
    apply_settings,
    parse_paths,
    print_json,
)
from napari_mrgen.errors import MrgenError

if TYPE_CHECKING:
    from napari_mrgen.app.outputs import Outputs
    from napari_mrgen.volume import Volume


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "generate",
        help="generate with a trained model",
        description="Generate with a trained model, and save every result with its provenance.",
    )
    parser.add_argument("model", type=Path, metavar="RUN_OR_MODEL", help="run or .safetensors file")
    add_inputs(parser)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="ends in .nii.gz, .nii, .gif, .mp4 or .png; further results add their name",
    )
    add_settings(parser)
    parser.add_argument("--seed", metavar="N", help="short for --set seed=N")
    add_device(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from napari_mrgen import families
    from napari_mrgen.app.outputs import Outputs
    from napari_mrgen.cli.signals import steered
    from napari_mrgen.engine.header import read_header

    family = families.get(read_header(options.model).family)
    settings = options.settings + ([f"seed={options.seed}"] if options.seed is not None else [])
    config = apply_settings(family.generate_config(), settings)
    outputs = Outputs(options.out, options.overwrite)
    inputs = {role: _only(role, paths) for role, paths in parse_paths(options.inputs).items()}

    from napari_mrgen.app.predict import generate

    with steered() as control:
        for volume in generate(
            options.model, inputs, config, device=options.device, control=control
        ):
            _save(volume, outputs, as_json=options.json)
    return control.exit_code


def _save(volume: Volume, outputs: Outputs, *, as_json: bool) -> None:
    paths = outputs.save(volume)
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
