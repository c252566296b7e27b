"""Devices and precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from napari_mrgen.engine import device
from napari_mrgen.engine.device import (
    _control_groups,
    choose_device,
    choose_precision,
    device_info,
    devices,
)
from napari_mrgen.errors import MrgenError


def test_the_cpu_is_always_there_and_first() -> None:
    cpu = devices()[0]
    assert cpu.name == "cpu"
    assert 0 < cpu.free_bytes <= cpu.total_bytes
    assert len(devices()) == 1 + torch.cuda.device_count()


def test_every_device_can_be_chosen_by_name() -> None:
    for found in devices():
        assert device_info(choose_device(found.name)).title == found.title
    assert str(choose_device("auto")) in [found.name for found in devices()]


def test_an_unknown_device_names_the_known() -> None:
    with pytest.raises(MrgenError, match="one of: cpu"):
        choose_device("cuda:77")


def test_every_control_group_above_a_process_limits_it(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("1:cpu:/elsewhere\n0::/jobs/7\n")
    groups = _control_groups(tmp_path, own)
    assert list(groups) == [tmp_path / "jobs" / "7", tmp_path / "jobs", tmp_path]
    own.write_text("0::/\n")  # As containers see it.
    assert list(_control_groups(tmp_path, own)) == [tmp_path]
    assert list(_control_groups(tmp_path, tmp_path / "nothing")) == []


def test_the_tightest_limit_says_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in (("tight", 1000), ("loose", 5000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "memory.max").write_text(f"{limit}\n")
        (tmp_path / name / "memory.current").write_text("900\n")
        (tmp_path / name / "memory.stat").write_text("anon 700\ninactive_file 200\n")
    groups = [tmp_path / name for name in ("loose", "none", "tight")]
    monkeypatch.setattr(device, "_control_groups", lambda: iter(groups))
    cpu = devices()[0]
    assert (cpu.free_bytes, cpu.total_bytes) == (300, 1000)


def test_precision_by_name_and_by_speed() -> None:
    cpu = torch.device("cpu")
    assert choose_precision("32-true", cpu) == "32-true"
    assert choose_precision("auto", cpu) in ("32-true", "bf16-mixed")
    with pytest.raises(MrgenError, match="bf16-mixed, got '16'"):
        choose_precision("16", cpu)
