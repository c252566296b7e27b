"""Samples beside real slices, as one plot, with the scoreboard.

From top to bottom: rows of slices, real and synthetic, from the first level to the last; radial
power and intensities; the samples nearest to a training slice, each beside that slice; and the
metrics of every method.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_mrgen.app.plots.style import (
    ALARM,
    BASELINES,
    FAINT,
    GRAY,
    INK,
    MODEL,
    hide_frame,
)
from napari_mrgen.io.files import replacing
from napari_mrgen.metrics.distributions import ImageSet, Sets
from napari_mrgen.metrics.images import radial_power
from napari_mrgen.metrics.memorisation import find_near_copies
from napari_mrgen.metrics.scoreboard import Scoreboard

SLICES, PAIRS = 10, 5
_MOST_COMPARED = 500


def plot_sets(sets: Sets, scoreboard: Scoreboard, path: Path) -> None:
    """Plot the sets into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = {"real, held out": sets.held_out, **sets.generated}
    heights = [1.25 * len(rows), 3.2, 2.0, 0.5 + 0.19 * len(scoreboard.columns)]
    if sets.train is None:
        del heights[2]
    figure = Figure(figsize=(12.5, sum(heights)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
    _plot_slices(parts[0], rows)
    _plot_curves(parts[1], rows)
    if sets.train is not None:
        _plot_copies(parts[2], sets, sets.train)
    plot_table(parts[-1], scoreboard)
    with replacing(path) as file:
        figure.savefig(file, format="png")


def _plot_slices(part: Any, rows: dict[str, ImageSet]) -> None:
    grid = part.subplots(len(rows), SLICES, squeeze=False)
    for axes, (name, images) in zip(grid, rows.items(), strict=True):
        for place, image in zip(axes, _spread(images), strict=False):
            place.imshow(image, **GRAY)
        for place in axes:
            hide_frame(place)
        axes[0].set_ylabel(name, color=INK, fontsize=9)


def _spread(images: ImageSet) -> np.ndarray[Any, Any]:
    """Return a few slices from the first level to the last; where unknown, as they come."""
    levels = torch.zeros(len(images)) if images.levels is None else images.levels
    order = levels.argsort(stable=True)
    chosen = order[torch.linspace(0, len(order) - 1, min(SLICES, len(order))).round().long()]
    return images.images[chosen].float().cpu().numpy()


def _plot_curves(part: Any, rows: dict[str, ImageSet]) -> None:
    spectrum, histogram = part.subplots(1, 2)
    for (name, images), colour in zip(rows.items(), (INK, *(MODEL, *BASELINES) * 2), strict=False):
        pixels = images.thin(_MOST_COMPARED).images.float().cpu()
        style = {"color": colour, "label": name, "linewidth": 2 if colour is INK else 1.3}
        frequency, power = radial_power(pixels)
        spectrum.semilogy(frequency, power.mean(0).clamp(min=1e-12), **style)
        counts = torch.histc(pixels.clamp(0, 1), 64, 0, 1) / pixels.numel()
        histogram.semilogy((torch.arange(64) + 0.5) / 64, counts.clamp(min=1e-6), **style)
    spectrum.set_xlabel("spatial frequency (cycles a pixel)")
    spectrum.set_ylabel("power")
    histogram.set_xlabel("intensity (1 is the 99.5th percentile of a volume)")
    histogram.set_ylabel("share of pixels")
    for axes in (spectrum, histogram):
        axes.tick_params(colors=FAINT, labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    spectrum.legend(frameon=False, fontsize=8, labelcolor=INK)


def _plot_copies(part: Any, sets: Sets, train: ImageSet) -> None:
    """Show the first method's samples that are nearest to a training slice, beside that slice."""
    name, made = next(iter(sets.generated.items()))
    copies = find_near_copies(made, train, sets.held_out)
    nearest = copies.distance.argsort()[:PAIRS].tolist()
    grid = part.subplots(1, 2 * PAIRS)
    for axes in grid:
        hide_frame(axes)
    for place, index in enumerate(nearest):
        pair = (made.images[index], train.images[int(copies.nearest[index])])
        for axes, image in zip(grid[2 * place :], pair, strict=False):
            axes.imshow(image.float().cpu().numpy(), **GRAY)
        is_flagged = bool(copies.flagged[index])
        title = f"{'near-copy: ' if is_flagged else ''}{copies.distance[index]:.3f}"
        grid[2 * place].set_title(title, color=ALARM if is_flagged else FAINT, fontsize=8)
        grid[2 * place].set_xlabel("sample", color=INK, fontsize=8)
        grid[2 * place + 1].set_xlabel("trained on", color=INK, fontsize=8)
    part.suptitle(
        f"Nearest to a training slice ({name}): {copies.share:.1%} are near-copies, "
        f"at distances under {copies.limit:.3f}", color=INK, fontsize=10,
    )  # fmt: skip


def plot_table(part: Any, scoreboard: Scoreboard) -> None:
    """Fill a part of a figure with the means: metrics as rows, methods as columns."""
    methods = scoreboard.rows
    axes = part.subplots()
    axes.axis("off")
    cells = [
        [f"{row.mean[name]:.3g}" if name in row.mean else "–" for row in methods]
        for name in scoreboard.columns
    ]
    table = axes.table(
        cells, rowLabels=list(scoreboard.columns), colLabels=[row.method for row in methods],
        loc="center", cellLoc="right", edges="horizontal",
    )  # fmt: skip
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for cell in table.get_celld().values():
        cell.set_edgecolor("#dadce0")
        cell.get_text().set_color(INK)
