"""Numbers and reports as a person would say them."""

from __future__ import annotations

from pathlib import Path

from napari_mrgen.app.session import Phase, RunState, diagnostics
from napari_mrgen.engine.family import GenerateConfig, Plan
from napari_mrgen.widgets.tables import describe


def test_a_report_holds_what_is_needed_and_no_users_name() -> None:
    state = RunState(
        phase=Phase.FAILED, run_dir=Path.home() / "runs" / "one", problem="It failed.",
        details="Traceback (most recent call last)",
    )  # fmt: skip
    text = diagnostics(state, GenerateConfig(), "cpu CPU")
    for part in ("napari-mrgen", "torch", "It failed.", "Traceback", "seed: 0", "cpu CPU"):
        assert part in text
    assert str(Path.home()) not in text


def test_a_plan_in_words() -> None:
    text = describe(Plan((10, 2, 32, 32), 91_214, 73_000_000, 2_000_000, notes=("One subject.",)))
    for part in ("10 × 2 × 32 × 32", "91,214 weights", "73 million", "1.91 MiB", "One subject."):
        assert part in text
