"""The program: parse, run one command, and turn every ending into an exit code."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import NoReturn

from napari_mrgen import __version__
from napari_mrgen.cli import (
    demo,
    devices,
    evaluate,
    export,
    families,
    generate,
    info,
    run,
    runs,
    serve,
    train,
)
from napari_mrgen.errors import MrgenError

GROUPS = (demo, families, devices, train, runs, run, generate, evaluate, export, serve, info)

OK, CRASH, MISTAKE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return 0, 1 (failed), 2 (the user's mistake) or 130 (interrupted)."""
    try:
        options = build_parser().parse_args(arguments)
        code: int = options.run(options)
        sys.stdout.flush()
    except MrgenError as error:
        return _complain(str(error), MISTAKE)
    except KeyboardInterrupt:
        return _complain("Interrupted.", INTERRUPTED)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:  # noqa: BLE001 - the last net; the details are kept for a report
        return _complain(_describe(error), CRASH)
    return code


class Parser(argparse.ArgumentParser):
    """Says a mistake in one line, as every other mistake is said."""

    def error(self, message: str) -> NoReturn:
        raise MrgenError(f"{message}; `{self.prog} --help` tells more.")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="napari-mrgen",
        description="Train generative models of MRI, generate with them, and judge them.",
        epilog="`napari-mrgen COMMAND --help` explains a command; `napari-mrgen demo` shows all.",
    )
    parser.add_argument("--version", action="version", version=f"napari-mrgen {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for group in GROUPS:
        group.add(commands)
    return parser


def _complain(sentence: str, code: int) -> int:
    line = " ".join(sentence.split())
    print(f"napari-mrgen: {line}", file=sys.stderr)
    return code


def _describe(error: Exception) -> str:
    with tempfile.NamedTemporaryFile(
        "w", prefix="napari-mrgen-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exception(error, file=file)
    first = next(iter(str(error).splitlines()), "")
    return f"Unexpected {type(error).__name__}: {first} Details are in {file.name}."
