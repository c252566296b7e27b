"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import argparse
import itertools
import json
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

from napari_mrgen.errors import MrgenError, unknown

if TYPE_CHECKING:
    from napari_mrgen.config import Config

_INPUT_HELP = "a file or folder for a role, such as cine=DATA; may be repeated"
AnyConfig = TypeVar("AnyConfig", bound="Config")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def add_device(parser: argparse.ArgumentParser, *, or_service: bool = False) -> None:
    service = ", or the address of a service (see `napari-mrgen serve`)" if or_service else ""
    parser.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help=f"auto, cpu or cuda:0; `napari-mrgen devices` lists them{service} (default: auto)",
    )


def add_inputs(parser: argparse.ArgumentParser, help: str = _INPUT_HELP) -> None:
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="ROLE=PATH",
        dest="inputs",
        help=help,
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="change a setting; may be repeated. `napari-mrgen families FAMILY` lists them",
    )


def print_json(value: Any) -> None:
    print(json.dumps(value, default=str), flush=True)


def parse_paths(pairs: Iterable[str]) -> dict[str, list[Path]]:
    """Group ``ROLE=PATH`` options by role."""
    paths: dict[str, list[Path]] = {}
    for pair in pairs:
        role, path = _split(pair, "--input cine=PATH")
        paths.setdefault(role, []).append(Path(path).expanduser())
    return paths


def apply_settings(config: AnyConfig, pairs: Sequence[str]) -> AnyConfig:
    """Return the config with ``NAME=VALUE`` options applied and everything checked again."""
    fields = type(config).model_fields
    texts = dict(_split(pair, "--set learning_rate=1e-4") for pair in pairs)
    values = {}
    for name, text in config.with_current_names(texts).items():
        if name not in fields:
            raise unknown("setting", name, fields)
        values[name] = parse_value(text, fields[name].annotation)
    return config.with_values(values)


def parse_value(text: str, annotation: Any) -> Any:
    """Turn text into what a Config field takes; numbers and switches are left for it to read."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        if text.lower() in ("none", "null", ""):
            return None
        return parse_value(text, next(a for a in arguments if a is not types.NoneType))
    if origin is tuple:
        parts = [part.strip() for part in text.strip("()[] ").split(",")]
        # Too few or too many are left for the Config to refuse, in its own words.
        kinds = itertools.chain(arguments, itertools.repeat(str))
        return [parse_value(part, kind) for part, kind in zip(parts, kinds, strict=False)]
    if origin is Literal:
        return next((choice for choice in arguments if str(choice) == text), text)
    return text


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        msg = f"{path} cannot be read ({reason}); check the path."
        raise MrgenError(msg) from None


def _split(pair: str, example: str) -> tuple[str, str]:
    name, sign, value = pair.partition("=")
    if not (name and sign):
        option = example.split()[0]
        msg = f"{option} takes NAME=VALUE, such as `{example}`; got {pair!r}."
        raise MrgenError(msg)
    return name.strip(), value.strip()
