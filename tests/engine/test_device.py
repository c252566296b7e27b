"""Devices and precision."""

from __future__ import annotations

import pytest
import torch

from napari_mrgen.engine.device import choose, choose_precision, describe, devices
from napari_mrgen.errors import MrgenError


def test_the_cpu_is_always_there_and_first() -> None:
    cpu = devices()[0]
    assert cpu.name == "cpu"
    assert 0 < cpu.free_bytes <= cpu.total_bytes
    assert len(devices()) == 1 + torch.cuda.device_count()


def test_every_device_can_be_chosen_by_name() -> None:
    for device in devices():
        assert describe(choose(device.name)).title == device.title
    assert str(choose("auto")) in [device.name for device in devices()]


def test_an_unknown_device_names_the_known() -> None:
    with pytest.raises(MrgenError, match="one of: cpu"):
        choose("cuda:77")


def test_precision_by_name_and_by_speed() -> None:
    cpu = torch.device("cpu")
    assert choose_precision("32-true", cpu) == "32-true"
    assert choose_precision("auto", cpu) in ("32-true", "bf16-mixed")
    with pytest.raises(MrgenError, match="bf16-mixed, got '16'"):
        choose_precision("16", cpu)
