"""What the package imports is what `pyproject.toml` asks for, both ways."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import napari_mrgen

PACKAGE = Path(napari_mrgen.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOADED_BY_OTHERS = {
    "napari": "the program that the plugin runs in, with a Qt binding",
    "tensorboard": "started as a program, too",
    "python-multipart": "starlette reads uploads with it",
    "onnx": "torch.onnx writes with it",
    "onnxscript": "torch.onnx writes with it",
}
"""Distributions that another library imports for us, and why they are asked for here."""

PART_OF_OTHERS = {"pydantic-core": "pydantic", "pint": "napari"}
"""Distributions that are imported and always come with another one that is asked for."""


def _normalised(requirement: str) -> str:
    return re.split(r"[\[<>=!~;\s]", requirement)[0].lower().replace("_", "-")


def _required() -> set[str]:
    extras = PROJECT["optional-dependencies"].values()
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    return {_normalised(line) for line in lines} - {PROJECT["name"]}


def _imported() -> set[str]:
    modules = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "need":
                modules |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
    outside = modules - sys.stdlib_module_names - {"napari_mrgen"}
    distributions = packages_distributions()
    missing = outside - distributions.keys()
    assert not missing, f"not installed: {missing}"
    return {_normalised(name) for module in outside for name in distributions[module]}


def test_every_import_is_asked_for() -> None:
    assert _imported() - _required() - PART_OF_OTHERS.keys() == set()
    assert set(PART_OF_OTHERS.values()) <= _required()


def test_everything_that_is_asked_for_is_imported() -> None:
    assert _required() - _imported() - LOADED_BY_OTHERS.keys() == set()
    assert LOADED_BY_OTHERS.keys() <= _required()
