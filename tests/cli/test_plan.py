"""What a plan says of a training that does not fit."""

from __future__ import annotations

import pytest

from napari_mrgen.cli.train import _print_plan
from napari_mrgen.engine.device import Device
from napari_mrgen.engine.family import Advice, Plan

GIB = 1 << 30
CPU = Device("cpu", "CPU", 4 * GIB, 8 * GIB)
ADVICE = (
    Advice("bfloat16", {}, "bf16-mixed", 3 * GIB),
    Advice("bfloat16 and a batch of 2", {"batch_size": 2, "width": 8}, "bf16-mixed", GIB),
)


def said(plan: Plan, capsys: pytest.CaptureFixture[str]) -> str:
    _print_plan(plan, CPU)
    return capsys.readouterr().out


def test_what_fits_gets_no_advice(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(Plan((8, 8), 1, 1, 2 * GIB), capsys)
    assert "2 GiB, 4 GiB free on CPU" in text
    assert "fit" not in text


def test_advice_comes_with_the_options_that_do_it(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(Plan((8, 8), 1, 1, 6 * GIB, advice=ADVICE), capsys).splitlines()
    assert lines[-3:] == [
        "It does not fit. With one of these it does:",
        "  bfloat16                   3 GiB  --precision bf16-mixed",
        "  bfloat16 and a batch of 2  1 GiB  --set batch_size=2 --set width=8 "
        "--precision bf16-mixed",
    ]


def test_where_nothing_helps_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no setting makes it fit" in said(Plan((8, 8), 1, 1, 6 * GIB), capsys)
