"""What is kept for the next time, and what a damaged or forbidden memory does: nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_mrgen.engine.family import SamplingConfig
from napari_mrgen.widgets import remember


def test_settings_come_back() -> None:
    config = SamplingConfig(seed=7, samples=3)
    assert remember.load_settings("x", SamplingConfig) is None
    remember.save_settings("x", config)
    assert remember.load_settings("x", SamplingConfig) == config


@pytest.mark.parametrize("text", ["seed: -1", "no such: setting", "[", "\xff"])
def test_settings_that_are_no_longer_valid_are_forgotten(text: str) -> None:
    remember.folder().mkdir(parents=True)
    (remember.folder() / "x.yaml").write_bytes(text.encode("latin-1"))
    assert remember.load_settings("x", SamplingConfig) is None


def test_choices_come_back_one_by_one() -> None:
    remember.note("family", "toy")
    remember.note("model", "run one")
    assert (remember.recall("family"), remember.recall("model")) == ("toy", "run one")
    (remember.folder() / "choices.json").write_text("[]")
    assert remember.recall("family") is None


def test_a_home_that_cannot_be_written_to_only_forgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    remember.note("family", "toy")
    assert remember.recall("family") is None
