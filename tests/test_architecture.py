"""The rules that keep the package readable, held by the tests."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import napari_mrgen

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
