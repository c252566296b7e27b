"""Pages of the reference, made from Configs, Inputs and docstrings: nothing is written twice.

``python -m napari_mrgen.app.reference`` prints the page of the Python interface.
"""

from __future__ import annotations

import inspect
import re
import sys
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


def python_page() -> str:
    """Return the reference page of ``import napari_mrgen as mrgen``."""
    import napari_mrgen as mrgen
    from napari_mrgen.app import python

    lines = ["# Python", "", inspect.cleandoc(_PYTHON), ""]
    for name in ("read", "write", "train", "resume", "load", "evaluate"):
        lines += _function(f"mrgen.{name}", getattr(mrgen, name))
    for name in ("generate", "results"):
        lines += _function(f"TrainedModel.{name}", getattr(python.TrainedModel, name))
    return "\n".join(lines)


_PYTHON = """
    ```python
    import napari_mrgen as mrgen

    for event in mrgen.train("frame_prediction", "quick", cine="ACDC/training", out="run"):
        print(event)
    print(mrgen.evaluate("run", cine="ACDC/testing"))
    model = mrgen.load("run")
    cine = mrgen.read("patient101_4d.nii.gz")
    future = model.generate(cine=cine, frames=50)
    mrgen.write(future, "next.nii.gz")
    ```

    `import napari_mrgen` imports nothing else; each name is imported when it is first used.
    `mrgen.Volume` is the image that all of them take and return, and `mrgen.families` has the model
    families: `mrgen.families.names()`, `mrgen.families.get("vqvae")`. Mistakes raise a `MrgenError`
    with one sentence that says what to do.
    """


def _function(name: str, function: Any) -> list[str]:
    """Return the part of a page on one function: its arguments, and its docstring as Markdown."""
    plain, signature = inspect.Parameter.empty, inspect.signature(function)
    parameters = [
        one.replace(annotation=plain) for one in signature.parameters.values() if one.name != "self"
    ]
    call = f"{name}{signature.replace(parameters=parameters, return_annotation=plain)}"
    text = inspect.getdoc(function) or ""
    text = re.sub(r"^(\w[\w ]*)\n-{3,}$", r"**\1**\n", text, flags=re.MULTILINE)
    text = text.replace("  # doctest: +SKIP", "").replace("``", "`")
    text = re.sub(r"^(\S[^\n]*)\n    (?=\S)", r"- `\1`: ", text, flags=re.MULTILINE)
    text = re.sub(r"((?:^(?:>>>|\.\.\.)[^\n]*\n(?:^[^\n]+\n?)*)+)", _fenced, text + "\n",
                  flags=re.MULTILINE)  # fmt: skip
    return [f"## `{call}`", "", text.strip(), ""]


def _fenced(match: re.Match[str]) -> str:
    return f"```pycon\n{match.group(1).rstrip()}\n```\n"


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
        yield "None: it samples from noise."
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


if __name__ == "__main__":
    sys.stdout.write(python_page())
