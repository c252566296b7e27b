from __future__ import annotations

from pathlib import Path

import pytest

import napari_mrgen as mrgen
from napari_mrgen import families
from napari_mrgen.app.reference import describe, markdown, python_page

PAGES = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", families.names())
def test_the_page_in_the_docs_is_up_to_date(name: str) -> None:
    page = PAGES / f"{name}.md"
    command = f"napari-mrgen families {name} --reference > docs/reference/{name}.md"
    assert page.read_text(encoding="utf-8") == markdown(families.get(name)), f"run: {command}"


@pytest.mark.parametrize("name", families.names())
def test_every_setting_is_in_it(name: str) -> None:
    family = families.get(name)
    page = describe(family)
    for kind, key in (
        (family.train_config, "train_settings"),
        (family.generate_config, "generate_settings"),
    ):
        assert [row["name"] for row in page[key]] == list(kind.model_fields)
        assert all(row["help"] and row["type"] for row in page[key])


def test_the_page_of_python_is_up_to_date() -> None:
    page = PAGES / "python.md"
    command = "python -m napari_mrgen.app.reference > docs/reference/python.md"
    assert page.read_text(encoding="utf-8") == python_page(), f"run: {command}"


def test_the_page_of_python_describes_each_function() -> None:
    functions = set(mrgen.__all__) - {"Volume", "families"}
    assert all(f"## `mrgen.{name}(" in python_page() for name in functions)
