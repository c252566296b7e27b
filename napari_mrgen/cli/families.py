"""``families``: which models there are, and everything that can be set."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from typing import Any

from napari_mrgen.cli.options import Commands, add_json, print_json


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "families", help="list the model families, or one with its inputs, presets and settings"
    )
    parser.add_argument("family", nargs="?", metavar="FAMILY", help="only this one, in full")
    parser.add_argument("--reference", action="store_true", help="print its reference as Markdown")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
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
    yield f"\nPresets: {', '.join(page['presets'])}"
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
