"""Config: the frozen base of everything that a user can set.

A field's docstring is its tooltip, its ``--help`` and its line in the reference; default, range and
unit stand beside it and nowhere else. Fields are bool, int, float, Literal, Path, fixed tuples of
these, or one of these or None: what a form can show and a command line can take.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any, Literal, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_mrgen.errors import MrgenError, unknown

Level = Literal["basic", "advanced"]


def setting(
    default: Any, *, unit: str = "", level: Level = "basic", title: str | None = None, **limits: Any
) -> Any:
    """Declare a field: default, unit, level of the form, limits (``ge``, ``gt``, ``le``)."""
    extra: dict[str, Any] = {"unit": unit, "level": level}
    return Field(default, title=title, json_schema_extra=extra, **limits)


class Config(BaseModel):
    """A valid, unchangeable set of settings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for name, info in cls.model_fields.items():
            if not is_plain(info.annotation):
                msg = f"{cls.__name__}.{name}: a form cannot show {info.annotation!r}"
                raise TypeError(msg)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Make a Config from untrusted values; a bad one is named in one sentence."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise MrgenError(_first_problem(cls, error)) from None

    def with_values(self, values: dict[str, Any]) -> Self:
        """Return a copy with ``values`` set and everything checked again."""
        return self.parse({**self.model_dump(), **values})

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" in line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or str(error).splitlines()[0]
            msg = f"The settings are no YAML: {problem}{where}."
            raise MrgenError(msg) from None
        if not isinstance(values, dict):
            got = "nothing" if values is None else type(values).__name__
            msg = f"Expected settings as YAML lines `name: value`, got {got}."
            raise MrgenError(msg)
        return cls.parse(values)


def is_plain(annotation: Any) -> bool:
    """Whether a form and a command line can hold a value of this type."""
    if annotation in (bool, int, float, Path, type(None)):
        return True
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return True
    if origin in (Union, types.UnionType):
        rest = [a for a in arguments if a is not type(None)]
        return len(rest) == 1 and is_plain(rest[0])
    return origin is tuple and Ellipsis not in arguments and all(map(is_plain, arguments))


def _first_problem(cls: type[Config], error: ValidationError) -> str:
    problem = error.errors()[0]
    said = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return f"{said}."
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return str(unknown("setting", name, cls.model_fields))
    return f"{name}: {said[0].lower()}{said[1:]}, got {problem['input']!r}."
