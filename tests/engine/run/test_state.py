"""A training state is read, also where an earlier version named its parts otherwise."""

from __future__ import annotations

from pathlib import Path

import torch

from napari_mrgen.engine.context import StageState
from napari_mrgen.engine.run.state import load_state, save_state
from napari_mrgen.engine.task import Stage
from napari_mrgen.engine.weights import WeightAverage
from tests.engine import toy


def fresh() -> StageState:
    stages = toy.FAMILY.stages(toy.ToyConfig(), toy.Inputs({}, toy.Split((), ())))
    *_, stage = (stage for stage in stages if isinstance(stage, Stage))
    shipped = {name: stage.task.networks[name] for name in stage.task.shipped}
    return StageState(1, stage, WeightAverage(shipped, 0.9), step=3)


def test_parts_that_were_renamed_are_read(tmp_path: Path) -> None:
    before = fresh()
    path = save_state(tmp_path, before)
    content = torch.load(path, weights_only=True)
    for part in ("networks", "optimizers"):
        content[part] = {name.replace("critic", "judge"): v for name, v in content[part].items()}
    content["standing"] = {**content.pop("early_stopping"), "waited": 2}
    torch.save(content, path)
    after = fresh()
    assert load_state(tmp_path, after) == (3, [])
    assert after.early_stopping.waited == 2
    for name, network in before.stage.task.networks.items():
        weights = after.stage.task.networks[name].state_dict()
        assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items())
