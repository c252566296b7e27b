"""Small widgets that the panels are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLayout,
    QMenu,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

_STEPS = 1000
"""Resolution of a progress bar."""


class Section(QWidget):
    """A heading that folds and unfolds what stands below it.

    What is folded is hidden, so that Tab passes over it; a collapsible of superqt only makes it
    zero pixels high.
    """

    def __init__(self, title: str, content: QLayout, *, is_open: bool = False) -> None:
        super().__init__()
        self.header = QToolButton()
        self.header.setText(title)
        self.header.setCheckable(True)
        self.header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.header.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.header.setStyleSheet("QToolButton { border: none; text-align: left; }")
        self._body = QWidget()
        self._body.setLayout(content)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.header)
        layout.addWidget(self._body)
        self.header.toggled.connect(self._on_toggled)
        self.header.setChecked(is_open)
        self._on_toggled(is_open)

    def _on_toggled(self, is_open: bool) -> None:
        arrow = Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow
        self.header.setArrowType(arrow)
        self._body.setVisible(is_open)


class Note(QLabel):
    """A line or two of text; hidden while it is empty."""

    def __init__(self, text: str = "", *, warning: bool = False) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._warning = warning
        self.say(text)

    def say(self, text: str, *, warning: bool | None = None) -> None:
        warning = self._warning if warning is None else warning
        self.setStyleSheet("color: #e6a23c;" if warning else "")
        self.setText(text)
        self.setVisible(bool(text))

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Let long words, such as paths, not make the panel wider."""
        return QSize(0, super().minimumSizeHint().height())


class ShareBar(QProgressBar):
    """A thin bar that shows the fraction done; it only moves where that is unknown."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextVisible(False)
        self.setFixedHeight(8)

    def show_share(self, share: float | None) -> None:
        self.setRange(0, 0 if share is None else _STEPS)
        if share is not None:
            self.setValue(round(share * _STEPS))


def button(text: str, on_click: Callable[[], object], tip: str = "", name: str = "") -> QPushButton:
    """Make a push button; its object name is how tests and scripts find it."""
    push = QPushButton(text)
    push.setObjectName(name or text.lower().replace(" ", "_").rstrip("…"))
    push.setToolTip(tip)
    push.clicked.connect(lambda _checked=False: on_click())
    return push


def switch(text: str, on_clicked: Callable[[bool], object], tip: str) -> QPushButton:
    """Make a button that stays down until it is pressed again; only a press calls."""
    push = button(text, lambda: on_clicked(push.isChecked()), tip)
    push.setCheckable(True)
    return push


def menu_button(text: str, tip: str, actions: Mapping[str, Callable[[], object]]) -> QToolButton:
    """Make a button that opens a menu."""
    tool = QToolButton()
    menu = QMenu(tool)
    for title, on_chosen in actions.items():
        menu.addAction(title, on_chosen)
    tool.setText(text)
    tool.setToolTip(tip)
    tool.setMenu(menu)
    tool.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    tool.setStyleSheet("QToolButton { padding: 2px 14px 2px 4px; }")
    return tool


def row(*widgets: QWidget) -> QHBoxLayout:
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def group(title: str, *parts: QWidget | QLayout) -> QGroupBox:
    """Make a titled block of widgets, one under the other."""
    box = QGroupBox(title)
    layout = QVBoxLayout(box)
    layout.setContentsMargins(8, 4, 8, 6)
    layout.setSpacing(5)
    for part in parts:
        if isinstance(part, QLayout):
            layout.addLayout(part)
        else:
            layout.addWidget(part)
    return box


def scrolled(*parts: QWidget) -> QScrollArea:
    """Stack widgets in a scroll area, so that a tall panel never pushes the window off screen."""
    inside = QWidget()
    layout = QVBoxLayout(inside)
    layout.setContentsMargins(4, 4, 4, 4)
    layout.setSpacing(8)
    for part in parts:
        layout.addWidget(part)
    layout.addStretch(1)
    area = QScrollArea()
    area.setWidget(inside)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area
