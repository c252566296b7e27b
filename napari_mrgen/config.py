"""Config: the frozen base of everything that a user can set.

A field's docstring is its tooltip, its ``--help`` and its line in the reference; default, range and
unit stand beside it and nowhere else. Fields are bool, int, float, Literal, Path, fixed tuples of
these, or one of these or None: what a form can show and a command line can take.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_mrgen.errors import MrgenError, unknown

Level = Literal["basic", "advanced"]


def setting(
    default: Any,
    *,
    unit: str = "",
    level: Level = "basic",
    title: str | None = None,
    old: str = "",
    old_values: Mapping[str, str] | None = None,
    **limits: Any,
) -> Any:
    """Declare a field of a `Config`.

    Parameters
    ----------
    default
        The value where none is given.
    unit
        Unit that stands beside the value.
    level
        Whether a form shows the field at once or under *Advanced settings*.
    title
        Label of the form; by default it is made from the name.
    old
        Name under which earlier versions wrote the setting. It is still read.
    old_values
        Choices that earlier versions wrote, and what each is called today.
    **limits
        Limits of pydantic: ``ge``, ``gt``, ``le``, ``lt``.
    """
    extra: dict[str, Any] = {"unit": unit, "level": level}
    if old:
        extra["old"] = old
    if old_values:
        extra["old_values"] = dict(old_values)
    return Field(default, title=title, json_schema_extra=extra, **limits)


class Config(BaseModel):
    """A valid, unchangeable set of settings.

    Examples
    --------
    >>> class Small(Config):
    ...     steps: int = setting(100, ge=1)
    >>> Small.from_yaml("steps: 5").with_values({"steps": 7})
    Small(steps=7)
    """

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

    @model_validator(mode="before")
    @classmethod
    def _read_old(cls, values: Any) -> Any:
        return cls.with_current_names(values) if isinstance(values, dict) else values

    @classmethod
    def with_current_names(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings under the names and choices of today.

        Raises
        ------
        MrgenError
            If a setting is given by its old name and by its new one.
        """
        current = dict(values)
        for name, old, choices in _old_spellings(cls):
            if old in current:
                if name in current:
                    raise MrgenError(f"{old} is an old name of {name}; give only {name}.")
                current[name] = current.pop(old)
            if isinstance(current.get(name), str):
                current[name] = choices.get(current[name], current[name])
        return current

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Make a Config from untrusted values; a bad one is named in one sentence."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise MrgenError(_first_problem(cls, error)) from None

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with ``values`` set and everything checked again."""
        return self.parse({**self.model_dump(), **self.with_current_names(values)})

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
            msg = f"The settings are not YAML: {problem}{where}."
            raise MrgenError(msg) from None
        except (ValueError, RecursionError) as error:
            raise MrgenError(f"The settings cannot be read: {error}.") from None
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


def check_extent(first: float, last: float) -> None:
    """Refuse a range of slices that ends before it begins; both are shares of the brain."""
    if first >= last:
        msg = f"The first slice ({first}) must come before the last ({last})"
        raise ValueError(msg)


def _old_spellings(cls: type[Config]) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Yield each field that was once written otherwise: name, old name, and old choices."""
    for name, info in cls.model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and ("old" in extra or "old_values" in extra):
            yield name, str(extra.get("old", "")), extra.get("old_values", {})  # type: ignore[misc]


def _first_problem(cls: type[Config], error: ValidationError) -> str:
    problem = error.errors()[0]
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return f"{message}."
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return str(unknown("setting", name, cls.model_fields))
    return f"{name}: {message[0].lower()}{message[1:]}, got {problem['input']!r}."
