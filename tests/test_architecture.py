"""The rules that keep the package readable, held by the tests."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import napari_mrgen
from napari_mrgen import families
from napari_mrgen.engine.family import SamplingConfig, TrainConfig

ROOT = Path(napari_mrgen.__file__).parents[1]
SOURCES = sorted((ROOT / "napari_mrgen").rglob("*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_point_down() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 500
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, FUNCTIONS))
    long = {f.name: n for f in functions if (n := (f.end_lineno or 0) - f.lineno + 1) > 50}
    assert not long


def test_the_package_itself_imports_nothing() -> None:
    code = "import sys; old = set(sys.modules); import napari_mrgen; print(set(sys.modules) - old)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "{'napari_mrgen'}"


# Roles whose names are words of their own; what else they name in the program is meant there.
WORDS = {
    "image": "a kind of input and of volume",
    "mask": "the kind of label map that metrics and previews are limited to",
    "slices": "the files of a volume that is kept slice by slice",
    "truth": "what a prediction is compared with, in job files and figures",
    "pairs": "two of anything",
}
EXCEPTIONS = {
    ("app/demo.py", "cine"): "the demonstration shows one family",
    ("cli/demo.py", "cine"): "the demonstration shows one family",
    (
        "app/jobs/published_layout.py",
        "undersampled",
    ): "reads one program's job files",
    ("io/fourth_axis.py", "cine"): "a word by which files are called",
    ("io/formats.py", "kspace"): "the module that reads k-space",
}
ROOMS = ("families", "data", "io/datasets", "io/raw_data")


def _named(node: ast.AST) -> str | None:
    """Return the name or the string that a node is."""
    value = getattr(node, "value", None)
    if isinstance(node, ast.Constant):
        return value if isinstance(value, str) else None
    return next((getattr(node, key) for key in ("id", "arg", "attr") if hasattr(node, key)), None)


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_no_role_of_one_family_is_named_elsewhere(path: Path) -> None:
    place = str(path.relative_to(ROOT / "napari_mrgen"))
    if place.startswith(ROOMS):
        return
    kinds = [families.get(name) for name in families.names()]
    roles = {spec.role for kind in kinds for spec in (*kind.train_inputs, *kind.generate_inputs)}
    named = {_named(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))}
    found = {(place, role) for role in roles & named if role not in WORDS}
    assert found <= EXCEPTIONS.keys()


# Settings of one family whose names are everyday words of the program, and mean those there.
SETTING_WORDS = {
    "inputs": "what a training or a generation takes, by role",
    "stage": "a part of a training",
    "task": "what a job does",
    "slices": "the files of a volume that is kept slice by slice",
    "codes": "codes of a NIfTI header",
}
SETTING_EXCEPTIONS = {
    "app/demo.py": "the demonstration shows one family",
    "app/jobs/published_layout.py": "reads the job files of one program",
}


def _settings_of_one_family() -> set[str]:
    counts: Counter[str] = Counter()
    for kind in map(families.get, families.names()):
        fields = {*kind.train_config.model_fields, *kind.generate_config.model_fields}
        shared = {*TrainConfig.model_fields, *SamplingConfig.model_fields}
        counts.update(fields - shared)
    return {name for name, count in counts.items() if count == 1}


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_no_setting_of_one_family_is_named_elsewhere(path: Path) -> None:
    """Neither as a string, nor as an attribute of what is called a configuration."""
    place = str(path.relative_to(ROOT / "napari_mrgen"))
    if place.startswith(ROOMS):
        return
    named = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            named.add(node.value)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("config"):
            named.add(node.attr)
    names = _settings_of_one_family() & named - SETTING_WORDS.keys()
    assert not names or place in SETTING_EXCEPTIONS
