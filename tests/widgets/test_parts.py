from __future__ import annotations

from pytestqt.qtbot import QtBot

from napari_mrgen.widgets.parts import ShareBar


def test_a_bar_shows_a_share_and_only_moves_where_none_is_known(qtbot: QtBot) -> None:
    bar = ShareBar()
    qtbot.addWidget(bar)
    for share in (0, 0.25, 1):
        bar.show_share(share)
        assert bar.value() / bar.maximum() == share
    bar.show_share(None)
    assert bar.minimum() == bar.maximum() == 0
