"""The curves of a stage as one figure, drawn from the table that every run keeps."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_mrgen.io.files import replacing

Curve = list[tuple[int, float]]
"""Step and value."""

_COLUMNS = 3
_INK, _FAINT, _LINE = "#202124", "#8b93a1", "#1a73b8"
_TITLES = {"train": "loss", "held_out": "held out"}


def read_curves(table: Path, stage: str) -> dict[str, Curve]:
    """Return the figures of a stage by name, such as ``train/loss``, from ``metrics.csv``.

    A run that was resumed has told some steps twice: the later figures count.
    """
    found: dict[str, dict[int, float]] = {}
    with table.open(newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.reader(file):
            with suppress(ValueError):  # The head; a row that a killed process left torn.
                of, step, name, value = row
                point = {int(step): float(value)}
                if of == stage:
                    found.setdefault(name, {}).update(point)
    return {name: sorted(values.items()) for name, values in found.items()}


def draw_curves(curves: Mapping[str, Curve], title: str, path: Path) -> None:
    """Draw a panel for each curve into a PNG: losses first, then what was held out."""
    if not curves:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = math.ceil(len(curves) / _COLUMNS)
    figure = Figure(figsize=(4 * _COLUMNS, 0.6 + 2.6 * rows), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=_INK)
    for place, name in enumerate(sorted(curves, key=lambda name: not name.startswith("train/"))):
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        _draw(axes, name, curves[name])
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as file:
        figure.savefig(file, format="png")


def _draw(axes: Any, name: str, curve: Curve) -> None:
    group, _, rest = name.partition("/")
    steps, values = zip(*curve, strict=True)
    axes.plot(steps, values, color=_LINE, linewidth=1.4, marker="." if len(steps) < 40 else "")
    axes.set_title(f"{rest} ({_TITLES.get(group, group)})", color=_INK, fontsize=10)
    axes.set_xlabel("step", color=_FAINT, fontsize=8)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.tick_params(colors=_FAINT, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e8eb", linewidth=0.6)
