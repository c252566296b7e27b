"""``info``, ``families`` and ``devices``: what there is, in words or as JSON."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_mrgen.cli.options import add_json, print_json
from napari_mrgen.wording import format_size


def add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH")
    add_json(parser)
    parser.set_defaults(run=show_info)


def show_info(options: argparse.Namespace) -> int:
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
    from napari_mrgen.cli.report import table_lines

    yield f"{facts['path']}: {len(facts['scans'])} scans of {facts['subjects']} subjects"
    rows = [("subject", "axes", "shape", "spacing in mm", "labels")]
    for scan in facts["scans"]:
        shape = " x ".join(map(str, scan["shape"]))
        spacing = " x ".join(f"{size:.3g}" for size in scan["spacing_mm"] or ()) or "not known"
        rows.append((scan["subject"], scan["axes"], shape, spacing, str(len(scan["labels"]))))
    yield from table_lines(rows)
    for one in facts["left_out"]:
        yield f"Left out: {one['path']}: {one['why']}"
    for scan in facts["scans"]:
        for note in scan["notes"]:
            yield f"To check: {scan['path']}: {note}"
    yield from facts["notes"]


def add_families(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("family", nargs="?", metavar="FAMILY", help="only this one, in full")
    parser.add_argument("--reference", action="store_true", help="print its reference as Markdown")
    add_json(parser)
    parser.set_defaults(run=list_families)


def list_families(options: argparse.Namespace) -> int:
    from napari_mrgen import families
    from napari_mrgen.app.reference import describe, markdown

    chosen = [families.get(n) for n in ([options.family] if options.family else families.names())]
    if options.json:
        pages = [describe(family) for family in chosen]
        print_json(pages[0] if options.family else pages)
    elif options.reference:
        print("\n".join(map(markdown, chosen)), end="")
    elif options.family:
        print("\n".join(_page(describe(chosen[0]))))
    else:
        for family in chosen:
            print(f"{family.name}\n{_wrapped(f'{family.title}. {family.summary}')}")
    return 0


def _page(page: dict[str, Any]) -> Iterator[str]:
    yield f"{page['title']} ({page['name']})"
    yield _wrapped(page["summary"])
    for title, key in (("train", "train_inputs"), ("generate", "generate_inputs")):
        yield f"\nInputs to {title}:"
        for one in page[key]:
            notes = " or ".join(one["axes"]) + (", optional" if one["optional"] else "")
            yield f"  --input {one['role']}=PATH   {one['title']} ({notes})"
    yield "\nPresets (--preset NAME):"
    for name, text in page["preset_help"].items():
        yield f"  {name}"
        yield from map(_wrapped, text.split("\n\n"))
    for title, key in (("train", "train_settings"), ("generate", "generate_settings")):
        yield f"\nSettings to {title} (--set NAME=VALUE):"
        for row in page[key]:
            limits = f", {row['limits']}" if row["limits"] else ""
            unit = f" {row['unit']}" if row["unit"] else ""
            default = "none" if row["default"] is None else row["default"]
            yield f"  {row['name']} = {default}{unit}   ({row['type']}{limits})"
            yield _wrapped(row["help"])


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 88, initial_indent="      ", subsequent_indent="      ")


def add_devices(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    parser.set_defaults(run=list_devices)


def list_devices(options: argparse.Namespace) -> int:
    from napari_mrgen.engine.device import devices

    available = devices()
    if options.json:
        print_json([asdict(device) for device in available])
        return 0
    for device in available:
        free, total = format_size(device.free_bytes), format_size(device.total_bytes)
        print(f"{device.name:8} {free:>8} of {total} free   {device.title}")
    return 0
