"""Loss plot: the training losses and held-out metrics of a run, as they come."""

from __future__ import annotations

from collections.abc import Mapping

import pyqtgraph as pg
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mrgen.widgets.editors import combo

LOSSES = "Training loss, by step"
COLOURS = ("#4c9be8", "#e8974c", "#7bc86c", "#d96ab5", "#c8c04c", "#9b8be8")
MOST_POINTS = 1000
REDRAW_MS = 500


class Curve:
    """Points of one curve; older ones are thinned out, so that drawing stays quick."""

    def __init__(self) -> None:
        self.x: list[float] = []
        self.y: list[float] = []

    def add(self, x: float, y: float) -> None:
        if self.x and x <= self.x[-1]:  # a resumed run repeats the steps since its last save
            keep = sum(1 for old in self.x if old < x)
            del self.x[keep:], self.y[keep:]
        self.x.append(x)
        self.y.append(y)
        if len(self.x) > MOST_POINTS:
            self.x, self.y = self.x[::2], self.y[::2]


class LossPlot(QWidget):
    """Curves over the training step; the steps of a run's stages follow one another."""

    def __init__(self) -> None:
        super().__init__()
        self.curves: dict[str, dict[str, Curve]] = {LOSSES: {}}
        self._drawn: dict[str, pg.PlotDataItem] = {}
        self._offset = self._end = 0
        self._choice = combo("curves", "Which curves to show")
        self._choice.addItem(LOSSES)
        self._choice.currentIndexChanged.connect(lambda _index: self._start_over())
        self._plot = pg.PlotWidget(background=None)
        self._plot.setFixedHeight(200)
        self._plot.setMenuEnabled(False)
        self._plot.setMouseEnabled(x=False, y=False)
        self._plot.hideButtons()
        self._legend = self._plot.addLegend(offset=(-5, 5), labelTextSize="8pt")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._choice)
        layout.addWidget(self._plot)
        # Drawing on a timer bounds its share of the window's time, however fast the steps are.
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MS)
        self._timer.timeout.connect(self._draw)

    def clear(self) -> None:
        self.curves = {LOSSES: {}}
        self._offset = self._end = 0
        while self._choice.count() > 1:
            self._choice.removeItem(1)
        self._start_over()

    def start_stage(self, step: int) -> None:
        """Put a stage that begins behind what was shown so far."""
        if step == 0:
            self._offset = self._end

    def add_losses(self, step: int, losses: Mapping[str, float]) -> None:
        for name, value in losses.items():
            self._add(LOSSES, name, step, value)

    def add_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add held-out metrics; each gets a view of its own, for their units differ."""
        for name, value in metrics.items():
            self._add(f"Held out, by step: {name}", name, step, value)

    def choose(self, view: str) -> None:
        self._choice.setCurrentText(view)

    def set_colour(self, colour: str) -> None:
        """Draw axes and names in the text colour of napari's theme."""
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setPen(colour)
            axis.setTextPen(colour)
        self._legend.setLabelTextColor(colour)

    def _add(self, view: str, name: str, step: int, value: float) -> None:
        if view not in self.curves:
            self.curves[view] = {}
            self._choice.addItem(view)
        self._end = max(self._end, self._offset + step)
        self.curves[view].setdefault(name, Curve()).add(self._offset + step, value)
        if not self._timer.isActive():
            self._timer.start()

    def _start_over(self) -> None:
        self._plot.clear()
        self._drawn = {}
        self._draw()

    def _draw(self) -> None:
        view = self._choice.currentText()
        curves = self.curves.get(view, {})
        is_log = view == LOSSES and all(y > 0 for curve in curves.values() for y in curve.y)
        for name, curve in curves.items():
            if name not in self._drawn:
                colour = COLOURS[len(self._drawn) % len(COLOURS)]
                self._drawn[name] = self._plot.plot(pen=pg.mkPen(colour, width=1.5), name=name)
            self._drawn[name].setData(curve.x, curve.y)
        self._plot.setLogMode(x=False, y=is_log)
