"""The table of old names in the vocabulary is that of the code."""

from __future__ import annotations

import re
from pathlib import Path

from napari_mrgen import families
from napari_mrgen.config import Config

PAGE = Path(__file__).parents[1] / "docs" / "concepts" / "vocabulary.md"
ROW = re.compile(r"^\| (\w+) \| `([^`]+)` \| `([^`]+)` \|$", re.MULTILINE)


def _old_names(family: str, config: type[Config]) -> set[tuple[str, str, str]]:
    rows = set()
    for name, info in config.model_fields.items():
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        if old := extra.get("old"):
            rows.add((family, str(old), name))
        choices = extra.get("old_values", {})
        assert isinstance(choices, dict)
        for old_choice, choice in choices.items():
            rows.add((family, f"{name}={old_choice}", f"{name}={choice}"))
    return rows


def test_the_old_names_are_those_that_the_code_reads() -> None:
    wanted: set[tuple[str, str, str]] = set()
    for name in families.names():
        family = families.get(name)
        wanted |= _old_names(name, family.train_config) | _old_names(name, family.generate_config)
    assert set(ROW.findall(PAGE.read_text(encoding="utf-8"))) == wanted
