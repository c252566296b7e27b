from __future__ import annotations

import pytest

from napari_mrgen.errors import MrgenError
from napari_mrgen.families.cyclegan import FAMILY
from napari_mrgen.families.cyclegan.config import PRESETS, CycleGanConfig


@pytest.mark.parametrize("preset", PRESETS)
def test_patches_of_presets_are_legal(preset: str) -> None:
    config = PRESETS[preset].config
    assert config.patch % config.legal == 0
    assert config.held_out >= 0.1


def test_what_is_legal_follows_from_the_levels() -> None:
    assert PRESETS["published"].config.legal == 2
    assert PRESETS["published_deep"].config.legal == 4
    assert CycleGanConfig(levels=4).legal == 16


@pytest.mark.parametrize("patch", [8, 60, 100])
def test_other_patches_are_refused_in_words(patch: int) -> None:
    with pytest.raises(MrgenError, match=f"multiple of 8, 16 at least, got {patch}"):
        PRESETS["quick"].config.with_values({"patch": patch})


def test_there_must_be_something_to_learn_from() -> None:
    with pytest.raises(MrgenError, match="nothing to learn from"):
        PRESETS["quick"].config.with_values({"paired_weight": 0, "adversarial_weight": 0})


def test_one_direction_is_one_of_two() -> None:
    assert CycleGanConfig().directions == ("t1 to t2", "t2 to t1")
    assert CycleGanConfig(direction="t2 to t1").directions == ("t2 to t1",)
    assert FAMILY.source_roles(CycleGanConfig(direction="t2 to t1")) == ("t2",)
