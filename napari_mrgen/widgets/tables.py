"""Tables: the scoreboard of a run, and the layers of a model."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_mrgen.engine.family import Plan, Survey
from napari_mrgen.metrics.scoreboard import Row, Scoreboard
from napari_mrgen.wording import format_count, format_size


class ScoreTable(QTableWidget):
    """Methods by metrics: mean ± standard deviation over the held-out subjects."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        super().__init__()
        _read_only(self)
        self.show_scores(scoreboard)

    def show_scores(self, scoreboard: Scoreboard) -> None:
        columns = scoreboard.columns
        self.setRowCount(len(scoreboard.rows))
        self.setColumnCount(len(columns))
        self.setHorizontalHeaderLabels(list(columns))
        self.setVerticalHeaderLabels([row.method for row in scoreboard.rows])
        for y, row in enumerate(scoreboard.rows):
            for x, name in enumerate(columns):
                self.setItem(y, x, _cell(_format_metric(row, name)))
        self.resizeColumnsToContents()
        self.resizeRowsToContents()
        heights = sum(self.rowHeight(y) for y in range(self.rowCount()))
        self.setMinimumHeight(min(heights + 60, 260))


def _format_metric(row: Row, name: str) -> str:
    if name not in row.mean:
        return "–"
    spread = f" ± {row.spread[name]:.2g}" if row.spread[name] else ""
    return f"{row.mean[name]:.4g}{spread}"


class ScoreDialog(QDialog):
    """The scoreboard in a window of its own."""

    def __init__(self, scoreboard: Scoreboard, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Scores on held-out subjects")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        layout = QVBoxLayout(self)
        layout.addWidget(ScoreTable(scoreboard))
        self.resize(900, 320)


class ModelDialog(QDialog):
    """Model summary: its layers, and what training needs."""

    def __init__(self, title: str, plan: Plan, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"The model: {title}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        summary = QLabel(describe(plan))
        summary.setWordWrap(True)
        table = QTableWidget(len(plan.layers), 3)
        _read_only(table)
        table.setHorizontalHeaderLabels(["Layer", "Output shape", "Weights"])
        table.verticalHeader().hide()
        for y, (layer, shape, parameters) in enumerate(plan.layers):
            cells = (_cell(layer), _cell(shape), _cell(f"{parameters:,}", right=True))
            for x, cell in enumerate(cells):
                table.setItem(y, x, cell)
        table.resizeColumnsToContents()
        table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        layout = QVBoxLayout(self)
        layout.addWidget(summary)
        layout.addWidget(table)
        self.resize(620, 520)


class SurveyDialog(QDialog):
    """The geometry of each scan of a training, and how it will be preprocessed."""

    def __init__(self, survey: Survey, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(survey.title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        summary = QLabel("\n".join(survey.notes))
        summary.setWordWrap(True)
        self.table = QTableWidget(len(survey.rows), len(survey.columns))
        _read_only(self.table)
        self.table.setHorizontalHeaderLabels(list(survey.columns))
        self.table.verticalHeader().hide()
        for y, row in enumerate(survey.rows):
            for x, text in enumerate(row):
                self.table.setItem(y, x, _cell(text))
                self.table.item(y, x).setToolTip(text)
        self.table.resizeColumnsToContents()
        last = len(survey.columns) - 1
        self.table.horizontalHeader().setSectionResizeMode(last, QHeaderView.ResizeMode.Stretch)
        layout = QVBoxLayout(self)
        layout.addWidget(summary)
        layout.addWidget(self.table)
        self.resize(1180, 340)
        header = self.table.horizontalHeader()
        header.sectionResized.connect(lambda *_sizes: self.table.resizeRowsToContents())


def describe(plan: Plan) -> str:
    """Say in a few lines what a training needs."""
    shape = " × ".join(map(str, plan.shape))
    lines = (
        f"Each sample that the model sees has the shape {shape}.",
        f"It has {format_count(plan.parameters)} weights.",
        f"One training step takes {format_count(plan.flops_per_step)} operations (FLOPs) "
        f"and training about {format_size(plan.memory_bytes)} of memory.",
        *plan.notes,
    )
    return "\n".join(lines)


def _read_only(table: QTableWidget) -> None:
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setShowGrid(False)


def _cell(text: str, *, right: bool = False) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    if right:
        item.setTextAlignment(int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter))
    return item
