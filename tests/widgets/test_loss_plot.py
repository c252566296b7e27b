"""Curves of a run: in order, bounded in size, mended after a resume."""

from __future__ import annotations

import pyqtgraph as pg
from pytestqt.qtbot import QtBot

from napari_mrgen.widgets.loss_plot import LOSSES, MOST_POINTS, Curve, LossPlot


def test_a_curve_stays_small_and_keeps_its_ends() -> None:
    curve = Curve()
    for step in range(10 * MOST_POINTS):
        curve.add(step, 1.0)
    assert MOST_POINTS / 2 <= len(curve.x) <= MOST_POINTS
    assert curve.x[0] == 0
    assert curve.x[-1] >= 9.9 * MOST_POINTS
    assert curve.x == sorted(curve.x)


def test_a_resumed_run_overwrites_what_it_repeats() -> None:
    curve = Curve()
    for step, value in ((10, 1.0), (20, 2.0), (30, 3.0), (20, 2.5)):
        curve.add(step, value)
    assert (curve.x, curve.y) == ([10, 20], [1.0, 2.5])


def _drawn(plot: LossPlot) -> dict[str, tuple[list[float], list[float]]]:
    items = plot.findChild(pg.PlotWidget).listDataItems()
    return {i.name(): tuple(map(list, i.getOriginalDataset())) for i in items}  # type: ignore[misc]


def test_stages_follow_one_another(qtbot: QtBot) -> None:
    plot = LossPlot()
    qtbot.addWidget(plot)
    plot.start_stage(0)
    plot.add_losses(10, {"total": 2.0})
    plot.start_stage(0)
    plot.add_losses(5, {"total": 1.0, "adversarial": -1.0})
    plot.start_stage(5)  # resumed in the middle of the second one
    plot.add_losses(6, {"total": 0.5})
    expected = {"total": ([10, 15, 16], [2.0, 1.0, 0.5]), "adversarial": ([15], [-1.0])}
    qtbot.waitUntil(lambda: _drawn(plot) == expected, timeout=3000)


def test_held_out_figures_have_views_of_their_own(qtbot: QtBot) -> None:
    plot = LossPlot()
    qtbot.addWidget(plot)
    plot.add_losses(1, {"total": 1.0})
    plot.add_metrics(1, {"PSNR": 30.0, "SSIM": 0.9})
    assert list(plot.curves) == [LOSSES, "Held out, by step: PSNR", "Held out, by step: SSIM"]
    plot.choose("Held out, by step: PSNR")
    assert _drawn(plot) == {"PSNR": ([1], [30.0])}
    plot.clear()
    assert list(plot.curves) == [LOSSES]
