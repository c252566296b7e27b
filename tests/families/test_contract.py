"""What every family must do, found in the registry: a new one is tested by being there."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mrgen import families
from napari_mrgen.app.generate import generate
from napari_mrgen.app.inputs import gather
from napari_mrgen.app.jobs.file import Job, Prediction
from napari_mrgen.app.jobs.predict import read_results
from napari_mrgen.app.jobs.run import JobOutcome, run_jobs, write_record
from napari_mrgen.config import Config
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import DataPreview, Family, TrainConfig
from napari_mrgen.engine.fit import fit, resume
from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.model import load_model
from napari_mrgen.io import nifti
from napari_mrgen.samples import beating_heart, brain
from napari_mrgen.volume import Volume

FILES = {"__init__.py", "config.py", "training.py"}
TOY = "toy_family"
"""A family of another package, in a folder beside this file."""
PRESETS = {"tiny", "quick", "base", "published"}
ELSEWHERE = {"pairs", "undersampled", "truth"}
"""Roles for what other roles hold, too, or in place of others."""


@dataclass(frozen=True)
class Trained:
    """A family trained tiny on phantoms: stopped once on the way, and gone on with."""

    family: Family
    config: TrainConfig
    inputs: Inputs
    paths: dict[str, list[Path]]
    run: Path
    first: list[events.Event]
    second: list[events.Event]

    def sources(self) -> dict[str, Path]:
        """Return a scan for the first role that it was trained on, if there is one."""
        known = [a.role for a in self.family.generate_inputs if a.role in self.paths]
        return {role: self.paths[role][0] for role in known[:1]}


@pytest.fixture(scope="module", autouse=True)
def _toy_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the toy be found as that of an installed package."""
    installed = tmp_path_factory.mktemp("installed")
    package = installed / "toy-1.0.dist-info"
    package.mkdir()
    entry = f"[{families.GROUP}]\n{TOY} = tests.families.{TOY}:FAMILY\n"
    (package / "entry_points.txt").write_text(entry, encoding="utf-8")
    (package / "METADATA").write_text("Name: toy\nVersion: 1.0\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(installed)
        yield


@pytest.fixture(scope="module", params=[*families.names(), TOY])
def family(request: pytest.FixtureRequest, _toy_package: None) -> Family:
    return families.get(request.param)


def test_a_sixth_family_is_one_small_folder() -> None:
    assert TOY in families.names()
    paths = Path(__file__).with_name(TOY).glob("*.py")
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    assert len([line for line in lines if line.strip()]) <= 60


def test_a_misspelt_method_is_noticed() -> None:
    with pytest.raises(TypeError, match=r"Misspelt\.savngs overrides nothing.*'savings'"):

        class Misspelt(Family):
            def savngs(self, config: TrainConfig) -> None: ...


@pytest.fixture(scope="module")
def trained(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp(family.name)
    paths = write_samples(family, folder / "data")
    config = family.preset("tiny")
    inputs = gather(family, paths, config)
    run, control = folder / "run", Control()
    first: list[events.Event] = []
    for event in fit(family, config, inputs, run, control, device="cpu"):
        first.append(event)
        if isinstance(event, events.Stepped):
            control.stop()
    second = list(resume(run, families.get, Control(), device="cpu"))
    return Trained(family, config, inputs, paths, run, first, second)


def write_samples(family: Family, folder: Path) -> dict[str, list[Path]]:
    """Write phantoms of three subjects for every role of images, by its axes."""
    paths: dict[str, list[Path]] = {}
    for number, asked in enumerate(family.train_inputs):
        if asked.kind != "image" or asked.role in ELSEWHERE:
            continue
        for seed in range(3 if asked.many else 1):
            volume = sample(asked.axes, seed, number)
            path = folder / asked.role / f"subject-{seed}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nifti.write(volume, path)
            paths.setdefault(asked.role, []).append(path)
    return paths


def sample(axes: tuple[str, ...], seed: int, number: int) -> Volume:
    if "tzyx" in axes:
        return beating_heart(seed, frames=14, slices=2, size=40)[0]
    return brain(seed)[number % 2]


def test_the_files_are_there(family: Family) -> None:
    module = importlib.import_module(type(family).__module__)
    found = {path.name for path in Path(str(module.__file__)).parent.glob("*.py")}
    assert found >= FILES
    assert family.name == type(family).__module__.rpartition(".")[2]


def test_it_introduces_itself(family: Family) -> None:
    assert family.title
    assert family.summary.endswith(".")
    assert family.paper
    assert all(asked.title and asked.axes for asked in family.train_inputs)


def test_naming_it_needs_no_torch(family: Family) -> None:
    code = (
        f"import sys; from napari_mrgen import families; families.get({family.name!r})\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == 0


def test_the_presets_are_there(family: Family) -> None:
    assert set(family.presets) >= PRESETS
    assert all(preset.config.stages for preset in family.presets.values())


def test_every_preset_says_what_it_is_for(family: Family) -> None:
    for preset in family.presets.values():
        assert preset.summary.endswith(".")
        assert not preset.help.startswith(" ")


def test_configs_survive_yaml_and_json(family: Family) -> None:
    presets = (preset.config for preset in family.presets.values())
    for config in (*presets, family.generate_config()):
        assert type(config).from_yaml(config.to_yaml()) == config
        assert type(config).parse(json.loads(config.model_dump_json())) == config


def test_every_setting_is_explained(family: Family) -> None:
    for kind in (family.train_config, family.generate_config):
        for name, info in kind.model_fields.items():
            assert info.description, f"{kind.__name__}.{name} has no docstring"
            extra = info.json_schema_extra
            assert isinstance(extra, dict), f"{kind.__name__}.{name} is not made by setting()"
            assert extra["level"] in ("basic", "advanced")


def test_names_that_families_share_mean_the_same(family: Family) -> None:
    kinds: dict[str, object] = {"frames": int, "samples": int, "start_frame": int | None}
    fields = family.generate_config.model_fields
    assert all(fields[name].annotation == kind for name, kind in kinds.items() if name in fields)


def test_networks_build_without_memory(trained: Trained) -> None:
    shape = tuple(load_model(trained.run, families.get).info.data["shape"])
    for preset in trained.family.presets.values():
        with torch.device("meta"):
            networks = trained.family.networks(preset.config, shape)
        tensors = [p for network in networks.values() for p in network.parameters()]
        assert tensors
        assert all(tensor.is_meta for tensor in tensors)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_plan_is_made_of_numbers(trained: Trained, preset: str) -> None:
    plan = trained.family.plan(trained.family.preset(preset), trained.inputs)
    assert min(plan.parameters, plan.flops_per_step, plan.memory_bytes, *plan.shape) > 0
    assert plan.layers
    assert sum(count for _, _, count in plan.layers) <= plan.parameters


def test_a_look_shows_what_the_networks_see(trained: Trained) -> None:
    *_, look = trained.family.preview_data(trained.config, trained.inputs)
    assert isinstance(look, DataPreview)
    assert np.isfinite(look.montage.array).all()
    assert set(look.train) == set(trained.inputs.split.train)
    assert set(look.test) == set(trained.inputs.split.test)


def test_it_trains_stops_and_goes_on(trained: Trained) -> None:
    assert isinstance(trained.first[-1], events.Stopped), trained.first[-1]
    assert isinstance(trained.second[-1], events.Finished), trained.second[-1]
    for kind in (events.Previewed, events.Evaluated, events.Saved):
        assert any(isinstance(event, kind) for event in trained.second)


def test_the_scoreboard_has_the_trivial_methods(trained: Trained) -> None:
    finished = trained.second[-1]
    assert isinstance(finished, events.Finished)
    rows = finished.scoreboard.rows
    assert len(rows) > 1
    assert all(row.mean for row in rows)
    # Some figures are of the whole set of held-out slices.
    assert {row.subjects for row in rows} <= {len(trained.inputs.split.test), 0}


def test_results_are_named_and_lie_where_their_source_lies(trained: Trained) -> None:
    results = list(_generate(trained))
    assert results
    assert all(result.name and result.provenance for result in results)
    for result, source in zip(results, _volumes(trained), strict=False):
        assert result.spacing == pytest.approx(source.spacing)
        np.testing.assert_allclose(result.affine, source.affine, atol=1e-4)


def test_the_same_seed_gives_the_same_result(trained: Trained) -> None:
    one, two = (list(_generate(trained)) for _ in range(2))
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left.array, right.array)


def test_every_result_is_finite(trained: Trained) -> None:
    assert all(np.isfinite(result.array).all() for result in _generate(trained))


def test_it_can_be_a_job(trained: Trained, tmp_path: Path) -> None:
    """Its run, gone on with as a job, predicts for what was held out, or draws."""
    config = {"samples": 2} if not trained.sources() else {}
    job = Job(
        name="job", task="train_and_predict", family=trained.family.name, preset="tiny",
        inputs={role: tuple(paths) for role, paths in trained.paths.items()},
        predict=Prediction(settings=config), out=tmp_path / "job", device="cpu",
    )  # fmt: skip
    shutil.copytree(trained.run, job.out)
    write_record(job)
    outcome = list(run_jobs([job], Control()))[-1]
    assert isinstance(outcome, JobOutcome)
    assert outcome.state == "finished", outcome.problem
    results = read_results(job.out / "predictions" / "result.h5")
    held_out = len(trained.inputs.split.test) if trained.sources() else 1
    assert len(results["result"]) == held_out
    assert all(np.isfinite(array).all() for array in results["result"].values())


def _generate(trained: Trained) -> Iterator[Volume]:
    kind: type[Config] = trained.family.generate_config
    wanted = {"frames": 6, "samples": 2}
    config = kind.parse({name: v for name, v in wanted.items() if name in kind.model_fields})
    return generate(trained.run, trained.sources(), config, device="cpu")


def _volumes(trained: Trained) -> Iterator[Volume]:
    return (nifti.read(path) for path in trained.sources().values())
