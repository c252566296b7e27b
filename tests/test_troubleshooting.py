"""What the guide to messages quotes is what the program says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/how-to/troubleshooting.md"
QUOTES = re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", PAGE.read_text("utf-8"))
VARIES = re.compile(r"\.\.\.|\b[A-Z]+\b")


@cache
def sentences() -> str:
    """Return every string of the package, a line each, with nothing for what is filled in."""
    sources = sorted((ROOT / "napari_mrgen").rglob("*.py"))
    texts = (text for path in sources for text in _strings(path))
    return "\n".join(" ".join(text.splitlines()) for text in texts)


def _strings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(_constant(part) for part in node.values)
        else:
            yield _constant(node)


def _constant(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ""


def test_messages_are_quoted() -> None:
    assert len(QUOTES) > 10


@pytest.mark.parametrize("quote", QUOTES)
def test_the_program_says_so(quote: str) -> None:
    pieces = VARIES.split(quote)
    assert re.search(".*".join(map(re.escape, pieces)), sentences()), quote
