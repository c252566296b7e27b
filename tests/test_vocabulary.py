"""The page of terms lists every name of older files that is still read."""

from __future__ import annotations

from pathlib import Path

from napari_mrgen import families

PAGE = Path(__file__).parents[1] / "docs" / "concepts" / "vocabulary.md"


def _rows() -> set[str]:
    rows = set()
    for name in families.names():
        family = families.get(name)
        for config in (family.train_config, family.generate_config):
            for setting, info in config.model_fields.items():
                extra = dict(info.json_schema_extra or {})  # type: ignore[arg-type]
                if extra.get("old"):
                    rows.add(f"| {name} | `{extra['old']}` | `{setting}` |")
                for old, new in dict(extra.get("old_values", {})).items():
                    rows.add(f"| {name} | `{setting}={old}` | `{setting}={new}` |")
    return rows


def test_names_of_older_files_are_listed() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines[lines.index("## Names in older files") :] if "`" in line}
    assert {row for row in listed if not row.startswith("| all |")} == _rows()
