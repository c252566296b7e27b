"""``info``: what a file, a folder, a run or a model is."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_mrgen.cli.options import Commands, add_json, print_json


def add(commands: Commands) -> None:
    parser = commands.add_parser("info", help="say what a scan, a folder, a run or a model is")
    parser.add_argument("path", type=Path, metavar="PATH")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from napari_mrgen.app.info import describe

    facts = describe(options.path)
    if options.json:
        print_json(facts)
    elif facts["kind"] == "folder":
        print("\n".join(_folder(facts)))
    else:
        print("\n".join(_lines(facts)))
    return 0


def _lines(facts: dict[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in facts.items():
        label = f"{indent}{name.replace('_', ' ')}"
        if value is None:
            text = "not known" if name.endswith(("_s", "_mm")) else "none"
            yield f"{label:18} {text}"
        elif isinstance(value, dict) and value:
            yield label
            yield from _lines(value, indent + "  ")
        elif value not in ({}, []):
            yield f"{label:18} {_text(value)}"


def _text(value: Any) -> str:
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)


def _folder(facts: dict[str, Any]) -> Iterator[str]:
    from napari_mrgen.cli.tables import table_lines

    yield f"{facts['path']}: {len(facts['scans'])} scans of {facts['subjects']} subjects"
    rows = [("subject", "axes", "shape", "spacing in mm", "labels")]
    for scan in facts["scans"]:
        shape = " x ".join(map(str, scan["shape"]))
        spacing = " x ".join(f"{size:.3g}" for size in scan["spacing_mm"] or ()) or "not known"
        rows.append((scan["subject"], scan["axes"], shape, spacing, str(len(scan["labels"]))))
    yield from table_lines(rows)
