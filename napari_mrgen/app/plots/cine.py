"""A prediction beside the truth, as one plot: frames, differences, and PSNR by horizon."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_mrgen.app.plots.style import (
    DIFFERENCE_SHOWN,
    FAINT,
    INK_DARK,
    PAPER_DARK,
    hide_frame,
)

Frames = npt.NDArray[np.float32]

HORIZONS = (1, 3, 5, 10, 25, 50)
_MODEL, _BASELINE = "#4fc3f7", "#f2a65a"


@dataclass(frozen=True)
class Comparison:
    """True frames, predicted frames, and the frames given to the model, each ``(t, z, y, x)``."""

    truth: Frames
    predicted: Frames
    seen: Frames

    @property
    def middle(self) -> int:
        return int(self.truth.shape[1] // 2)

    @property
    def range(self) -> float:
        return float(np.percentile(self.truth, 99.5))

    def side_by_side(self) -> Frames:
        """Return truth and prediction of the middle slice, ``(n, t, z, y, x)``."""
        z = slice(self.middle, self.middle + 1)
        return np.stack([self.truth[:, z], self.predicted[:, z]])

    def psnr(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return PSNR in dB by horizon, of the prediction and of the baselines."""
        methods = {
            "Prediction": self.predicted,
            "Last frame repeated": self.seen[-1:],
            "Mean of the beat before": self.seen.mean(0, keepdims=True),
        }
        return {name: self.psnr_of(frames) for name, frames in methods.items()}

    def psnr_of(self, frames: Frames) -> npt.NDArray[np.float64]:
        error = ((frames - self.truth) ** 2).mean(axis=(1, 2, 3), dtype=np.float64)
        return np.asarray(20 * np.log10(self.range) - 10 * np.log10(error))


def plot_cine(comparison: Comparison, path: Path) -> None:
    """Plot the comparison into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9.2), facecolor=PAPER_DARK, dpi=110)
    FigureCanvasAgg(figure)
    horizons = [h for h in HORIZONS if h <= len(comparison.truth)]
    grid = figure.add_gridspec(
        5, len(horizons), height_ratios=(1, 1, 1, 0.16, 1.05), hspace=0.06, wspace=0.04,
        left=0.075, right=0.93, top=0.9, bottom=0.075,
    )  # fmt: skip
    _plot_frames(figure, grid, comparison, horizons)
    _plot_curve(figure.add_subplot(grid[4, :]), comparison)
    figure.text(0.075, 0.955, "The next 50 frames of a heart that the model never saw",
                color=INK_DARK, fontsize=17, weight="bold")  # fmt: skip
    figure.savefig(path, facecolor=PAPER_DARK)


def _plot_frames(figure: Any, grid: Any, comparison: Comparison, horizons: list[int]) -> None:
    z, top = comparison.middle, comparison.range
    truth, predicted = comparison.truth[:, z], comparison.predicted[:, z]
    rows = (
        ("Truth", truth, {"cmap": "gray", "vmin": 0, "vmax": top}),
        ("Prediction", predicted, {"cmap": "gray", "vmin": 0, "vmax": top}),
        ("Difference", (predicted - truth) / top,
         {"cmap": "berlin", "vmin": -DIFFERENCE_SHOWN, "vmax": DIFFERENCE_SHOWN}),
    )  # fmt: skip
    for row, (name, frames, style) in enumerate(rows):
        for column, horizon in enumerate(horizons):
            axes = figure.add_subplot(grid[row, column])
            image = axes.imshow(frames[horizon - 1], interpolation="bicubic", **style)
            hide_frame(axes)
            if column == 0:
                axes.set_ylabel(name, color=INK_DARK, fontsize=12)
            if row == 0:
                axes.set_title(f"+{horizon}", color=FAINT, fontsize=12)
    place = figure.add_axes((0.942, axes.get_position().y0, 0.01, axes.get_position().height))
    bar = figure.colorbar(image, cax=place)
    bar.set_ticks([-DIFFERENCE_SHOWN, 0, DIFFERENCE_SHOWN])
    bar.ax.tick_params(colors=FAINT, labelsize=9)
    bar.outline.set_visible(False)


def _plot_curve(axes: Any, comparison: Comparison) -> None:
    axes.set_facecolor(PAPER_DARK)
    styles = ((_MODEL, "-", 2.6), (_BASELINE, "-", 1.6), (FAINT, "--", 1.4))
    for (name, curve), (colour, dash, width) in zip(comparison.psnr().items(), styles, strict=True):
        horizons = np.arange(1, len(curve) + 1)
        axes.plot(horizons, curve, dash, color=colour, linewidth=width, label=name)
    axes.set_xlabel("Frames ahead", color=INK_DARK, fontsize=11)
    axes.set_ylabel("PSNR (dB)", color=INK_DARK, fontsize=11)
    axes.set_xlim(1, len(comparison.truth))
    axes.tick_params(colors=FAINT)
    axes.grid(color="#262b33", linewidth=0.8)
    axes.spines[:].set_visible(False)
    axes.legend(frameon=False, labelcolor=INK_DARK, ncols=3, fontsize=11,
                loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)  # fmt: skip
