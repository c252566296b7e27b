"""Translated volumes beside the real ones, as one plot.

For each synthesised contrast, from left to right: a held-out head in three planes, as source,
synthetic, real and difference; intensities in the brain; and the metrics of every head by method.
Below stand the means.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from napari_mrgen.app.plots.sets import plot_table
from napari_mrgen.app.plots.style import (
    DIFFERENCE_SHOWN,
    FAINT,
    GRAY,
    INK,
    MODEL,
    hide_frame,
)
from napari_mrgen.io.files import replacing
from napari_mrgen.metrics.scoreboard import Score, tabulate
from napari_mrgen.metrics.volumes import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

Image = npt.NDArray[np.float32]

METRICS = ("PSNR in brain", "SSIM in brain")
"""Shown head by head."""
_BINS = 100
_PLANES = ("axial", "coronal", "sagittal")
_COLUMNS = ("source", "synthetic", "real", "difference")
_COLOURS = {"source": FAINT, "synthetic": MODEL, "real": INK}


@dataclass
class Page:
    """What is shown of one contrast: the planes of the first head, and counts over all heads."""

    title: str
    subject: str
    planes: list[dict[str, Image]]
    aspects: list[float]
    """Height of a pixel by its width, for each plane."""
    counts: dict[str, torch.Tensor]


def plot_volumes(comparisons: Iterable[Comparison], scores: Sequence[Score], path: Path) -> None:
    """Plot the volumes into a PNG; only planes of them are kept in memory."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pages = digest(comparisons)
    board = tabulate(scores)
    heights = [6.0] * len(pages) + [0.6 + 0.19 * len(board.columns)]
    figure = Figure(figsize=(14, sum(heights)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    parts: list[SubFigure] = list(
        figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    )
    for part, page in zip(parts, pages, strict=False):
        left, right = part.subfigures(1, 2, width_ratios=(1.7, 1), squeeze=False)[0]
        _plot_planes(left, page)
        _plot_curves(right, page, scores)
    plot_table(parts[-1], board)
    with replacing(path) as file:
        figure.savefig(file, format="png")


def digest(comparisons: Iterable[Comparison]) -> list[Page]:
    """Keep of each volume what is shown of it."""
    pages: dict[str, Page] = {}
    for one in comparisons:
        volumes = {"source": one.source, "synthetic": one.synthetic, "real": one.real}
        inside = one.mask.bool()
        counts = {
            name: torch.histc(volume[inside].clamp(0, 1), _BINS, 0, 1)
            for name, volume in volumes.items()
        }
        if one.title in pages:
            page = pages[one.title]
            page.counts = {name: page.counts[name] + counts[name] for name in counts}
            continue
        volumes["difference"] = one.synthetic - one.real
        middle = inside.nonzero().float().mean(0).round().long().tolist()
        planes = [
            {name: volume.select(axis, index).numpy() for name, volume in volumes.items()}
            for axis, index in enumerate(middle)
        ]
        z, y, x = one.spacing
        pages[one.title] = Page(one.title, one.subject, planes, [y / x, z / x, z / y], counts)
    return list(pages.values())


def _plot_planes(part: Any, page: Page) -> None:
    part.suptitle(f"{page.title} of {page.subject}", color=INK, fontsize=12)
    grid = part.subplots(len(_PLANES), len(_COLUMNS))
    image = None
    for row, plane, aspect, title in zip(grid, page.planes, page.aspects, _PLANES, strict=True):
        for axes, name in zip(row, _COLUMNS, strict=True):
            shown = GRAY
            if name == "difference":
                shown = {"cmap": "RdBu_r", "vmin": -DIFFERENCE_SHOWN, "vmax": DIFFERENCE_SHOWN}
            image = axes.imshow(plane[name], aspect=aspect, **shown)
            hide_frame(axes)
        row[0].set_ylabel(title, color=FAINT, fontsize=9)
    for axes, name in zip(grid[0], _COLUMNS, strict=True):
        axes.set_title(name, color=INK, fontsize=10)
    bar = part.colorbar(image, ax=grid[:, -1], shrink=0.5, aspect=30, label="synthetic - real")
    bar.ax.tick_params(colors=FAINT, labelsize=7)
    bar.outline.set_visible(False)


def _plot_curves(part: Any, page: Page, scores: Sequence[Score]) -> None:
    histogram, *places = part.subplots(1 + len(METRICS), 1)
    centres = (torch.arange(_BINS) + 0.5) / _BINS
    for name, counts in page.counts.items():
        shares = counts / counts.sum()
        histogram.plot(centres, shares, color=_COLOURS[name], label=name, linewidth=1.5)
    histogram.set_xlabel("intensity in the brain (1: 99.5th percentile of the head)", fontsize=8)
    histogram.set_ylabel("share of voxels", fontsize=8)
    histogram.legend(frameon=False, fontsize=8, labelcolor=INK)
    for axes, metric in zip(places, METRICS, strict=True):
        _plot_heads(axes, metric, page.title, scores)
    for axes in (histogram, *places):
        axes.tick_params(colors=FAINT, labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)


def _plot_heads(axes: Any, metric: str, title: str, scores: Sequence[Score]) -> None:
    """Show a metric of every head by method, with a line for each head."""
    own = [s for s in scores if s.method.startswith(f"{title}: ") and metric in s.values]
    methods = list(dict.fromkeys(score.method for score in own))
    for subject in dict.fromkeys(score.subject for score in own):
        values = {s.method: s.values[metric] for s in own if s.subject == subject}
        places = [index for index, method in enumerate(methods) if method in values]
        heights = [values[methods[index]] for index in places]
        axes.plot(places, heights, "o-", color=_COLOURS["synthetic"], alpha=0.6, markersize=4)
    names = [method.removeprefix(f"{title}: ") for method in methods]
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_ylabel(f"{metric} (dB)" if "PSNR" in metric else metric, fontsize=8)
    axes.grid(axis="y", color="#e8eaed", linewidth=0.8)
