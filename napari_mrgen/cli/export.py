"""``export``: a model's networks as ONNX files, for programs other than this."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mrgen.cli.options import add_json, print_json

if TYPE_CHECKING:
    from napari_mrgen.service.export import Exported


def add_export(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Export each network of a model to ONNX, with free sizes. Every file is run "
        "with onnxruntime at several sizes, and kept only where it does what PyTorch does."
    )
    parser.add_argument("model", type=Path, metavar="RUN_OR_MODEL", help="run or .safetensors file")
    parser.add_argument("--to", choices=("onnx",), default="onnx", help="(default: onnx)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="a name that ends in .onnx; several networks add theirs (default: beside the model)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    add_json(parser)
    parser.set_defaults(run=run_export)


def run_export(options: argparse.Namespace) -> int:
    from napari_mrgen.service.export import export

    for exported in export(options.model, options.out, overwrite=options.overwrite):
        if options.json:
            print_json(vars(exported))
        else:
            _tell(exported)
    return 0


def _tell(exported: Exported) -> None:
    print(f"{exported.path}  differs by {exported.difference:.1g} from PyTorch, at", end=" ")
    print("; ".join(" x ".join(map(str, size.values())) for size in exported.sizes))
    for name, shape in exported.inputs.items():
        print(f"  {name} ({', '.join(map(str, shape))})")
    print(f"  {exported.output}: {exported.help}", flush=True)
