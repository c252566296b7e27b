"""Form: from a Config to a Qt form and back; nothing about a setting is written twice."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic.fields import FieldInfo
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget

from napari_mrgen.config import Config
from napari_mrgen.widgets.editors import Editor, Limits, editor_for
from napari_mrgen.widgets.parts import Section

C = TypeVar("C", bound=Config)


class Form(QWidget, Generic[C]):
    """Every setting of a Config: the basic ones, and the advanced ones folded away.

    ``Form(config).config() == config`` for every Config.
    """

    changed = Signal()

    def __init__(self, config: C) -> None:
        super().__init__()
        self._type = type(config)
        self._editors: dict[str, Editor] = {}
        basic, advanced = _rows(), _rows()
        for name, info in self._type.model_fields.items():
            level = _extra(info).get("level", "basic")
            self._add_row(advanced if level == "advanced" else basic, name, info)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(basic)
        if advanced.rowCount():
            layout.addWidget(Section("Advanced settings", advanced))
        self.set_config(config)
        for editor in self._editors.values():
            editor.changed.connect(self.changed)

    def config(self) -> C:
        """Read the form; MrgenError says in one sentence which value cannot be.

        Raises
        ------
        MrgenError
            If settings that are each allowed do not go together.
        """
        return self._type.parse({name: e.value() for name, e in self._editors.items()})

    def set_config(self, config: C) -> None:
        for name, editor in self._editors.items():
            editor.set_value(getattr(config, name))

    def editor(self, name: str) -> Editor:
        """Return the editor of one setting."""
        return self._editors[name]

    def _add_row(self, rows: QFormLayout, name: str, info: FieldInfo) -> None:
        editor = editor_for(info.annotation, Limits.of(info))
        editor.setObjectName(name)
        unit = _extra(info).get("unit", "")
        title = info.title or name.replace("_", " ").capitalize()
        label = QLabel(f"{title} ({unit})" if unit else title)
        label.setWordWrap(True)
        tip = f"<p>{info.description or title}</p>"
        label.setToolTip(tip)
        editor.setToolTip(tip)
        # Word-wrapped labels make the layout take less height than its editors need.
        editor.setMinimumHeight(editor.sizeHint().height())
        rows.addRow(label, editor)
        self._editors[name] = editor


def _rows() -> QFormLayout:
    rows = QFormLayout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setHorizontalSpacing(8)
    rows.setVerticalSpacing(4)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    rows.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    return rows


def _extra(info: FieldInfo) -> dict[str, Any]:
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
