"""The reference of a family, made from its Configs and Inputs: nothing in it is written twice."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from napari_mrgen.config import Config
from napari_mrgen.engine.family import Family


def describe(family: Family) -> dict[str, Any]:
    """Return everything that a user can choose, as plain data."""
    return {
        "name": family.name,
        "title": family.title,
        "summary": family.summary,
        "paper": family.paper,
        "train_inputs": [asked.facts() for asked in family.train_inputs],
        "generate_inputs": [asked.facts() for asked in family.generate_inputs],
        "presets": {name: _changes(preset.config) for name, preset in family.presets.items()},
        "preset_help": {name: preset.help for name, preset in family.presets.items()},
        "train_settings": settings(family.train_config),
        "generate_settings": settings(family.generate_config),
    }


def settings(config: type[Config]) -> list[dict[str, Any]]:
    """Return one row a field: name, type, default, limits, unit, level and explanation."""
    return [_row(name, info) for name, info in config.model_fields.items()]


def markdown(family: Family) -> str:
    """Return the family's reference page."""
    page = describe(family)
    lines = [f"# {page['title']}", "", page["summary"], "", f"Paper: {page['paper']}", ""]
    for title, key in (("Inputs to train", "train_inputs"), ("to generate", "generate_inputs")):
        lines += [f"## {title.capitalize()}", "", *_inputs(page[key]), ""]
    lines += ["## Presets", ""]
    for name, changes in page["presets"].items():
        values = ", ".join(f"`{key}={value}`" for key, value in changes.items())
        lines += [f"### `{name}`", "", page["preset_help"][name], ""]
        lines += [f"Settings: {values or 'the defaults'}.", ""]
    for title, key in (("training", "train_settings"), ("generation", "generate_settings")):
        lines += [f"## Settings of {title}", "", *_table(page[key])]
    return "\n".join(lines) + "\n"


def _row(name: str, info: FieldInfo) -> dict[str, Any]:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    default = info.get_default(call_default_factory=True)
    return {
        "name": name,
        "type": _kind(info.annotation),
        "default": str(default) if isinstance(default, Path) else default,
        "limits": ", ".join(_limits(info)),
        "unit": extra.get("unit", ""),
        "level": extra.get("level", "basic"),
        "help": " ".join((info.description or "").split()),
    }


def _limits(info: FieldInfo) -> Iterator[str]:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    for limit in info.metadata:
        for name, sign in signs.items():
            if hasattr(limit, name):
                yield f"{sign} {getattr(limit, name)}"


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join("none" if a is types.NoneType else _kind(a) for a in arguments)
    if origin is tuple:
        return ",".join(map(_kind, arguments))
    return str(getattr(annotation, "__name__", annotation)).lower()


def _changes(config: Config) -> dict[str, Any]:
    """Return what a preset sets apart from the defaults."""
    values, fields = config.model_dump(mode="json"), type(config).model_fields
    return {
        name: value
        for name, value in values.items()
        if getattr(config, name) != fields[name].default
    }


def _inputs(asked: list[dict[str, Any]]) -> Iterator[str]:
    if not asked:
        yield "None: it draws from noise."
    for one in asked:
        notes = [" or ".join(one["axes"])]
        notes += ["several"] if one["many"] else []
        notes += ["optional"] if one["optional"] else []
        yield f"- `{one['role']}`: {one['title']} ({', '.join(notes)}). {one['help']}".rstrip()


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| Setting | Type | Default | Unit | |"
    yield "| --- | --- | --- | --- | --- |"
    for row in rows:
        kind = ", ".join(filter(None, (row["type"], row["limits"])))
        default = "none" if row["default"] is None else row["default"]
        yield f"| `{row['name']}` | {kind} | {default} | {row['unit']} | {row['help']} |"
