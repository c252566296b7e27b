"""Advice: what makes a training fit, by plans that are made of numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.engine.family import Plan, TrainConfig
from napari_mrgen.engine.memory.advice import HALF_PRECISION, advise, plan_to_fit
from tests.engine import toy

INPUTS = Inputs({}, Split((), ()))


class Numbers(toy.Toy):
    """Needs a byte for each sample and channel; half of it in bfloat16."""

    def plan(self, config: toy.ToyConfig, inputs: Inputs, precision: str = "32-true") -> Plan:
        needed = 1000 * config.batch_size * config.width
        return Plan((8, 8), 1, 1, needed // (2 if precision == "bf16-mixed" else 1))

    def savings(self, config: toy.ToyConfig) -> Sequence[tuple[str, Mapping[str, Any]]]:
        return [("nothing", {"seed": 1}), *super().savings(config)]


FAMILY = Numbers()
CONFIG = toy.ToyConfig(batch_size=8, width=8)


def titles(available: int, config: toy.ToyConfig = CONFIG, precision: str = "32-true") -> list[str]:
    plan = plan_to_fit(FAMILY, config, INPUTS, precision, available)  # type: ignore[arg-type]
    return [advice.title for advice in plan.advice]


def test_what_fits_needs_no_advice() -> None:
    assert titles(64_000) == []


def test_every_single_saving_that_is_enough_is_told_the_mildest_first() -> None:
    assert titles(32_000) == [HALF_PRECISION, "width 4", "batch_size 4"]
    assert titles(32_000, CONFIG, "bf16-mixed") == []


def test_where_none_is_enough_they_are_taken_together() -> None:
    assert titles(16_000) == [f"{HALF_PRECISION} and width 4"]
    assert titles(7_000) == [f"{HALF_PRECISION} and width 4 and width 2 and width 1"]


def test_where_nothing_is_enough_nothing_is_told() -> None:
    assert titles(10) == []


def test_the_changes_lead_to_what_was_promised() -> None:
    plan = plan_to_fit(FAMILY, CONFIG, INPUTS, "32-true", 16_000)
    (advice,) = plan.advice
    changed = CONFIG.with_values(dict(advice.changes))
    assert advice.precision == "bf16-mixed"
    assert FAMILY.plan(changed, INPUTS, advice.precision).memory_bytes == advice.memory_bytes
    assert advice.memory_bytes <= 16_000


@pytest.mark.parametrize("available", [32_000, 8_000])
def test_only_what_keeps_the_weights(available: int) -> None:
    plan = replace(FAMILY.plan(CONFIG, INPUTS), precision="bf16-mixed")

    def keeps(config: TrainConfig) -> bool:
        return isinstance(config, toy.ToyConfig) and config.width == CONFIG.width

    for advice in advise(FAMILY, CONFIG, INPUTS, plan, available, keeps):
        assert set(advice.changes) <= {"batch_size", "seed"}
