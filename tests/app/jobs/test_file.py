"""Files of jobs: what they say, what is refused, and that writing one loses nothing."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_mrgen.app.jobs.file import (
    Job,
    Prediction,
    anchored,
    check_settings,
    plain,
    read_jobs,
    write_jobs,
)
from napari_mrgen.errors import MrgenError

TRAIN = {"name": "a", "family": "dcgan", "preset": "tiny", "inputs": {"slices": "brains"}}


def write(folder: Path, text: str) -> Path:
    path = folder / "jobs.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def read(folder: Path, text: str) -> tuple[Job, ...]:
    return read_jobs(write(folder, text)).jobs


def test_common_values_are_those_of_every_job(tmp_path: Path) -> None:
    first, second = read(
        tmp_path,
        """
        out: done
        defaults:
          family: frame_prediction
          preset: tiny
          settings: {batch_size: 3, width: 8}
          inputs: {cine: hearts}
        jobs:
          - {name: one, task: train_and_predict, predict: {settings: {frames: 4}}}
          - {name: two, settings: {width: 16}, inputs: {cine: [a, ../b]}, out: /elsewhere}
        """,
    )
    assert first.inputs == {"cine": (tmp_path / "hearts",)}
    assert first.out == tmp_path / "done" / "one"
    assert first.prediction == Prediction(settings={"frames": 4})
    assert second.train_config() == first.train_config().with_values({"width": 16})
    assert second.inputs == {"cine": (tmp_path / "a", tmp_path.parent / "b")}
    assert second.out == Path("/elsewhere")
    assert second.task == "train"


def test_what_only_predicts_has_its_inputs_itself(tmp_path: Path) -> None:
    _, job = read(
        tmp_path,
        """
        jobs:
          - {name: m, family: frame_prediction}
          - name: p
            task: predict
            model: results/m
            inputs: {cine: a}
            settings: {frames: 3}
            truth: t
        """,
    )
    assert job.model == tmp_path / "results" / "m"
    assert job.prediction == Prediction(inputs={"cine": tmp_path / "a"}, settings={"frames": 3})
    assert job.truth == tmp_path / "t"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("jobs: [", "is not a YAML file"),
        ("[1, 2]", "a list under `jobs:`"),
        ("jobs: []", "is empty"),
        ("job: []", "a list under `jobs:`"),
        ("{jobs: [], outt: x}", "did you mean 'out'"),
        ("jobs: [3]", "in job 1, got 3"),
        ("jobs: [{task: train}]", "Job 1: name: field required"),
        (
            "jobs: [{name: a/b, family: dcgan}]",
            "Job 'a/b': name: a folder gets this name, so up to",
        ),
        ("jobs: [{name: .., family: dcgan}]", "name: a folder gets this name"),
        ("jobs: [{name: 'a ', family: dcgan}]", "no dot or blank at either end, got 'a '"),
        ("jobs: [{name: a., family: dcgan}]", "name: a folder gets this name"),
        ('jobs: [{name: "a\\nb", family: dcgan}]', "name: a folder gets this name"),
        ('jobs: [{name: "a\\eb", family: dcgan}]', "name: a folder gets this name"),
        ("jobs: [{name: '', family: dcgan}]", "name: a folder gets this name"),
        ("jobs: [{name: a, famly: dcgan}]", "Job 'a': There is no key 'famly'; did you mean"),
        ("jobs: [{name: a, task: trian}]", "Job 'a': task: input should be 'train'"),
        ("jobs: [{name: a}]", "Job 'a': a training needs a family"),
        ("jobs: [{name: a, task: predict}]", "needs a model"),
        ("jobs: [{name: a, task: predict, model: b}]", "b is not there, and no job before"),
        ("jobs: [{name: a, task: predict, model: jobs.yaml}]", "jobs.yaml is not a model"),
        (
            "jobs: [{name: m, family: vqvae},"
            " {name: a, task: predict, model: results/m, inputs: {imgae: x}}]",
            "Job 'a': There is no input 'imgae'; did you mean 'image'",
        ),
        (
            "jobs: [{name: m, family: vqvae},"
            " {name: a, task: predict, model: results/m, settings: {sampels: 2}}]",
            "did you mean 'samples'",
        ),
        (
            "jobs: [{name: m, family: vqvae},"
            " {name: a, task: predict, model: results/m, inputs: {image: [x, y]}}]",
            "takes one file or folder here, got 2",
        ),
        (
            "jobs: [{name: a, family: dcgan, predict: {settings: {samples: 2}}}]",
            "no part `predict`",
        ),
        ("jobs: [{name: a, family: dcgn}]", "Job 'a': There is no model family 'dcgn'"),
        ("jobs: [{name: a, family: dcgan, preset: tny}]", "did you mean 'tiny'"),
        ("jobs: [{name: a, family: dcgan, settings: {stepz: 3}}]", "did you mean 'steps'"),
        ("jobs: [{name: a, family: dcgan, settings: {steps: -3}}]", "greater than or equal"),
        ("jobs: [{name: a, family: dcgan, inputs: {slice: x}}]", "did you mean 'slices'"),
        ("jobs: [{name: a, family: dcgan, stage: gna}]", "There is no stage 'gna'"),
        ("jobs: [{name: a, family: dcgan, weights: -1}]", "weights"),
        ("jobs: [{name: a, family: reconstruction, export: onnx}]", "Leave `export` out."),
        (
            "jobs: [{name: a, family: dcgan, task: train_and_predict,"
            " predict: {settings: {sampels: 2}}}]",
            "did you mean 'samples'",
        ),
        (
            "jobs: [{name: a, family: dcgan}, {name: a, family: dcgan}]",
            "Two jobs have the name 'a'",
        ),
        (
            "jobs: [{name: a, family: dcgan, out: x}, {name: b, family: dcgan, out: x}]",
            "Two jobs have the out",
        ),
    ],
)
def test_a_mistake_is_named_before_anything_begins(
    text: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(MrgenError, match=r"^[^\n]*$") as raised:
        read(tmp_path, text)
    assert sentence in str(raised.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "jobs.yaml"]


def test_common_settings_are_those_of_trainings(tmp_path: Path) -> None:
    text = """
        defaults: {settings: {steps: 8}}
        jobs:
        - {name: m, family: cyclegan}
        - {name: a, task: predict, model: results/m, settings: {tile: 96}}
    """
    trained, used = read(tmp_path, text)
    assert (trained.settings, used.settings) == ({"steps": 8}, {"tile": 96})


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MrgenError, match="cannot be read"):
        read_jobs(tmp_path / "nowhere.yaml")
    (tmp_path / "jobs.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(MrgenError, match="not a text file"):
        read_jobs(tmp_path / "jobs.yaml")


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    text = "jobs: !!python/object/apply:os.mkdir [made]"
    with pytest.raises(MrgenError, match="not a YAML file"):
        read(tmp_path, text)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("out", ["out:\n", "out: ''\n", "defaults: {out: }\n"])
def test_an_empty_folder_is_none(out: str, tmp_path: Path) -> None:
    (job,) = read(tmp_path, f"{out}jobs: [{{name: a b, family: dcgan}}]")
    assert job.out == tmp_path / "results" / "a b"


FOLDERS = st.sampled_from(["/data/a", "/data/b c", "/data/ü"]).map(Path)
JOBS = st.fixed_dictionaries(
    {
        "out": FOLDERS,
        "inputs": st.dictionaries(st.just("slices"), st.lists(FOLDERS, min_size=1, max_size=2)),
    },
    optional={
        "task": st.sampled_from(["train", "train_and_predict"]),
        "settings": st.dictionaries(st.sampled_from(["steps", "width"]), st.integers(8, 99)),
        "weights": st.one_of(st.just("all"), st.integers(0, 9)),
        "export": st.just("onnx"),
        "device": st.just("cpu"),
        "split": FOLDERS,
    },
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values=JOBS)
def test_read_after_write_is_the_identity(
    values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    job = Job(**{**TRAIN, **values})
    path = tmp_path_factory.mktemp("jobs") / "jobs.yaml"
    write_jobs([job], path)
    assert read_jobs(path).jobs == (job,)


def test_what_goes_without_saying_is_not_written(tmp_path: Path) -> None:
    job = anchored(Job(**TRAIN, out=Path("a")), tmp_path)
    assert plain(job) == {
        "name": "a", "task": "train", "family": "dcgan", "preset": "tiny",
        "inputs": {"slices": [str(tmp_path / "brains")]}, "out": str(tmp_path / "a"),
    }  # fmt: skip


@pytest.mark.parametrize("module", ["onnx", "onnxscript", "onnxruntime"])
def test_what_an_export_needs_is_missed_before_the_training(
    module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = Job(name="a", family="dcgan", out=tmp_path, export="onnx")
    check_settings(job)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MrgenError, match=rf"needs {module}: .*\[export\].*Leave `export` out"):
        check_settings(job)
