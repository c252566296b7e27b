"""Settings that make a training fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.device import Precision
from napari_mrgen.engine.family import Advice, Family, Plan, TrainConfig
from napari_mrgen.errors import MrgenError

HALF_PRECISION = "bfloat16"
_SAVED = 0.95
"""A saving brings the memory below this share of what it was; others are none."""
_MOST_TOGETHER = 8

Keeps = Callable[[TrainConfig], bool]
"""Whether a training may go on with these settings."""


def plan_to_fit(
    family: Family, config: TrainConfig, inputs: Inputs, precision: Precision, available: int
) -> Plan:
    """Return the plan of a training, with advice where it needs more bytes than are available."""
    plan = replace(family.plan(config, inputs, precision), precision=precision)
    if plan.memory_bytes <= available:
        return plan
    return replace(plan, advice=advise(family, config, inputs, plan, available))


def advise(
    family: Family,
    config: TrainConfig,
    inputs: Inputs,
    plan: Plan,
    available: int,
    keeps: Keeps = lambda _: True,
) -> tuple[Advice, ...]:
    """Return all single savings that make a training fit, the mildest first.

    Where no single one does, the mildest are taken together until they do. None are returned where
    all of them are not enough.

    Parameters
    ----------
    plan
        Of the training as it is.
    """
    savings = Savings(family, config, inputs, keeps)
    state = Advice("", {}, plan.precision, plan.memory_bytes)
    single = tuple(savings.after(state))
    limit = min(available, int(_SAVED * plan.memory_bytes))
    if fitting := tuple(advice for advice in single if advice.memory_bytes <= limit):
        return fitting
    options: Iterable[Advice] = single
    for _ in range(_MOST_TOGETHER):
        lower = _SAVED * state.memory_bytes
        better = next((advice for advice in options if advice.memory_bytes <= lower), None)
        if better is None:
            break
        if better.memory_bytes <= limit:
            return (better,)
        state, options = better, savings.after(better)
    return ()


@dataclass(frozen=True)
class Savings:
    """What a training can do with less memory."""

    family: Family
    config: TrainConfig
    inputs: Inputs
    keeps: Keeps

    def after(self, advice: Advice) -> Iterator[Advice]:
        """Yield what each further saving leads to, together with those of ``advice``."""
        for title, changes, precision in self._levers(advice):
            together = {**advice.changes, **changes}
            try:
                config = self.config.with_values(together)
            except MrgenError:  # One that does not go together with the others.
                continue
            if self.keeps(config):
                plan = self.family.plan(config, self.inputs, precision)
                titles = " and ".join(filter(None, (advice.title, title)))
                yield Advice(titles, together, precision, plan.memory_bytes)

    def _levers(self, advice: Advice) -> Iterator[tuple[str, dict[str, object], Precision]]:
        precision: Precision = "bf16-mixed" if advice.precision == "bf16-mixed" else "32-true"
        if precision != "bf16-mixed":
            yield HALF_PRECISION, {}, "bf16-mixed"
        config = self.config.with_values(dict(advice.changes))
        for title, changes in self.family.savings(config):
            yield title, dict(changes), precision
