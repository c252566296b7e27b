"""Plain tables, readable on a terminal and in a file alike."""

from __future__ import annotations

from collections.abc import Sequence

from napari_mrgen.metrics.scoreboard import Row, Scoreboard

MOST_METHODS = 4


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


def scoreboard_lines(scoreboard: Scoreboard) -> list[str]:
    """Show figures as rows and methods as columns, a few methods at a time."""
    lines: list[str] = []
    for start in range(0, len(scoreboard.rows), MOST_METHODS):
        methods = scoreboard.rows[start : start + MOST_METHODS]
        rows = [["", *(row.method for row in methods)]]
        rows += [[name, *(_cell(row, name) for row in methods)] for name in scoreboard.columns]
        lines += [*table_lines(rows), ""]
    if scoreboard.rows:
        subjects = max(row.subjects for row in scoreboard.rows)
        one = "Of one subject."
        lines.append(f"Mean ± spread over {subjects} subjects." if subjects > 1 else one)
    return lines


def _cell(row: Row, name: str) -> str:
    if name not in row.mean:
        return "–"
    spread = f" ± {row.spread[name]:.2g}" if row.subjects > 1 else ""
    return f"{row.mean[name]:.3g}{spread}"
