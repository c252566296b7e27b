"""The program: parse, run one command, and turn every ending into an exit code."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn, TextIO

from napari_mrgen import __version__
from napari_mrgen.errors import MrgenError

COMMANDS = {
    "demo": ("demo:add_demo", "train, predict and show the built-in beating heart, in minutes"),
    "families": (
        "info:add_families",
        "list the model families, or one with its inputs, presets and settings",
    ),
    "devices": ("info:add_devices", "list the devices that can train, with their free memory"),
    "train": ("train:add_train", "train a model"),
    "resume": ("runs:add_resume", "continue a run that was stopped or killed"),
    "watch": ("runs:add_watch", "follow a run that another process trains"),
    "movie": ("runs:add_movie", "replay the previews of a run as a movie"),
    "run": ("run:add_run", "run the jobs of a file"),
    "generate": ("generate:add_generate", "generate with a trained model"),
    "evaluate": ("evaluate:add_evaluate", "evaluate a trained model on held-out subjects"),
    "export": ("export:add_export", "export a trained model to ONNX"),
    "serve": ("serve:add_serve", "serve a trained model over HTTP"),
    "info": ("info:add_info", "describe a scan, a folder, a run or a model"),
}
"""For each command the function that adds its options, and one line of help. Only the command that
is asked for is imported: `info` on a scan never pays for what `serve` needs."""

OK, CRASH, MISTAKE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return 0, 1 (failed), 2 (the user's mistake) or 130 (interrupted)."""
    warnings.showwarning = _show_warning
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # Names of files need not be UTF-8.
    try:
        arguments = sys.argv[1:] if arguments is None else arguments
        options = build_parser(arguments).parse_args(arguments)
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
    """A parser that reports a mistake in one line, as every other mistake is reported."""

    def error(self, message: str) -> NoReturn:
        raise MrgenError(f"{message}; see `{self.prog} --help`.")


def build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of all commands; the one that ``arguments`` ask for has its options."""
    parser = Parser(
        prog="napari-mrgen",
        description="Train generative models of MRI, generate with them, and evaluate them.",
        epilog="`napari-mrgen COMMAND --help` explains a command; `napari-mrgen demo` shows all.",
    )
    parser.add_argument("--version", action="version", version=f"napari-mrgen {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    chosen = next((text for text in arguments if not text.startswith("-")), None)
    for name, (place, line) in COMMANDS.items():
        command = commands.add_parser(name, help=line)
        if name == chosen:
            module, function = place.split(":")
            getattr(importlib.import_module(f"napari_mrgen.cli.{module}"), function)(command)
    return parser


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print what a user should know as one line; what is for programmers as Python does."""
    del file, line
    if issubclass(category, UserWarning):
        _complain(str(message), OK)
    else:
        print(f"{category.__name__}: {message} ({filename}:{lineno})", file=sys.stderr)


def _complain(sentence: str, code: int) -> int:
    line = " ".join(sentence.split())
    print(f"napari-mrgen: {line}", file=sys.stderr)
    return code


def _describe(error: Exception) -> str:
    with tempfile.NamedTemporaryFile(
        "w", prefix="napari-mrgen-", suffix=".log", delete=False, encoding="utf-8",
        errors="backslashreplace",
    ) as file:  # fmt: skip
        traceback.print_exception(error, file=file)
    first = next(iter(str(error).splitlines()), "")
    return f"Unexpected {type(error).__name__}: {first} Details are in {file.name}."
