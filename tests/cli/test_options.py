from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from napari_mrgen import families
from napari_mrgen.cli.options import apply_settings, parse_paths, parse_value
from napari_mrgen.config import Config, setting
from napari_mrgen.errors import MrgenError


class Everything(Config):
    switch: bool = False
    count: int = setting(1, ge=1)
    rate: float = 1e-4
    way: Literal["up", "down"] = "up"
    level: Literal[1, 2] = 1
    place: Path = Path("here")
    size: tuple[int, int] = (1, 2)
    limit: int | None = None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("switch=true", True),
        ("switch=no", False),
        ("count=12", 12),
        ("rate=1e-3", 1e-3),
        ("way=down", "down"),
        ("level=2", 2),
        ("place=123", Path("123")),
        ("size=5,50", (5, 50)),
        ("size=(5, 50)", (5, 50)),
        ("limit=7", 7),
        ("limit=none", None),
    ],
)
def test_a_setting_reads_as_its_type(text: str, value: object) -> None:
    name = text.partition("=")[0]
    assert getattr(apply_settings(Everything(limit=3), [text]), name) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cuont=3", "did you mean 'count'?"),
        ("count=0", "greater than or equal to 1"),
        ("count=few", "valid integer"),
        ("way=left", "'up' or 'down'"),
        ("size=1,2,3", "size"),
        ("count", "--set takes NAME=VALUE"),
    ],
)
def test_a_wrong_setting_is_named(text: str, sentence: str) -> None:
    with pytest.raises(MrgenError, match=r"^[^\n]+$") as error:
        apply_settings(Everything(), [text])
    assert sentence in str(error.value)


@pytest.mark.parametrize("name", families.names())
def test_every_default_survives_as_text(name: str) -> None:
    family = families.get(name)
    for config in (family.train_config(), family.generate_config()):
        for field, info in type(config).model_fields.items():
            value = getattr(config, field)
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            parsed = parse_value(text, info.annotation)
            assert getattr(config.with_values({field: parsed}), field) == value


def test_paths_are_grouped_by_role() -> None:
    found = parse_paths(["cine=a", "mask=b=c", "cine=d"])
    assert found == {"cine": [Path("a"), Path("d")], "mask": [Path("b=c")]}
