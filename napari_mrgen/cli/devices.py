"""``devices``: what can train here, with its free memory."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from napari_mrgen.cli.options import Commands, add_json, print_json


def add(commands: Commands) -> None:
    parser = commands.add_parser("devices", help="list what can train here, with its free memory")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from napari_mrgen.engine.device import devices

    found = devices()
    if options.json:
        print_json([asdict(device) for device in found])
        return 0
    for device in found:
        free, total = (size / 2**30 for size in (device.free_bytes, device.total_bytes))
        print(f"{device.name:8} {free:6.1f} of {total:.1f} GiB free   {device.title}")
    return 0
