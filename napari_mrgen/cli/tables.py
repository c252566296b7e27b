"""Plain tables, readable on a terminal and in a file alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from napari_mrgen.metrics.scoreboard import Row, Scoreboard

if TYPE_CHECKING:
    from napari_mrgen.engine.family import Survey

MOST_METHODS, WIDTH = 4, 100
"""Columns of a table, and letters of a line."""


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def survey_lines(survey: Survey) -> list[str]:
    """Show a row of a survey on one line, and below it its last column, which is a sentence."""
    rows = [row[:-1] for row in (survey.columns, *survey.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    below = (f"    {row[-1]}" for row in survey.rows)
    return [
        f"{survey.title}:",
        head,
        *chain.from_iterable(zip(lines, below, strict=True)),
        *survey.notes,
    ]


def scoreboard_lines(scoreboard: Scoreboard) -> list[str]:
    """Show figures as rows and methods as columns, as many methods at a time as fit a line."""
    lines: list[str] = []
    rest = scoreboard.rows
    while rest:
        count = _fitting(rest, scoreboard.columns)
        lines += [*_block(rest[:count], scoreboard.columns), ""]
        rest = rest[count:]
    if scoreboard.rows:
        lines.append(_said_of({row.subjects for row in scoreboard.rows}))
    return lines


def _fitting(rows: Sequence[Row], figures: Sequence[str]) -> int:
    counts = range(min(MOST_METHODS, len(rows)), 1, -1)
    widths = ((count, max(map(len, _block(rows[:count], figures)))) for count in counts)
    return next((count for count, width in widths if width <= WIDTH), 1)


def _block(methods: Sequence[Row], figures: Sequence[str]) -> list[str]:
    """Show the figures that any of these methods has."""
    rows = [
        [name, *(_cell(row, name) for row in methods)]
        for name in figures
        if any(name in row.mean for row in methods)
    ]
    return table_lines([["", *(row.method for row in methods)], *rows])


def _said_of(counts: set[int]) -> str:
    most = max(counts)
    if most < 2:
        return "Of one subject." if most else "Of all held-out slices together."
    rest = "; without ±, of all held-out slices together" if 0 in counts else ""
    return f"Mean ± spread over {most} subjects{rest}."


def _cell(row: Row, name: str) -> str:
    if name not in row.mean:
        return "–"
    spread = f" ± {row.spread[name]:.2g}" if row.spread[name] else ""
    return f"{row.mean[name]:.3g}{spread}"
