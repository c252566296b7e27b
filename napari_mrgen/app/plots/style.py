"""Colours and scales that the plots share."""

from __future__ import annotations

from typing import Any

INK, FAINT, ALARM = "#202124", "#8b93a1", "#c5221f"
PAPER_DARK, INK_DARK = "#14171c", "#e8eaed"
"""Background and text of the plot of a cine, whose frames are mostly black."""
MODEL, BASELINES = "#1a73b8", ("#d9730d", "#2e8b57", "#8e44ad", "#b8860b")
GRAY = {"cmap": "gray", "vmin": 0, "vmax": 1}
DIFFERENCE_SHOWN = 0.25
"""Largest difference on the colour scale, as a share of the intensity range."""


def hide_frame(axes: Any) -> None:
    """Show an image without ticks and border."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
