"""Jobs: trainings and predictions in a file, to be done one after the other.

A file of jobs is YAML::

    out: results                      # a folder for each job comes to lie in here
    defaults:                         # of every job below
      family: frame_prediction
      preset: quick
      inputs: {cine: ACDC/training}
    jobs:
      - name: wide
        task: train_and_predict
        settings: {width: 48}
        predict: {settings: {frames: 20}}
      - name: narrow
        settings: {width: 16}

Paths are relative to the file. Nothing here needs torch, so that a window can read such a file.
"""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from napari_mrgen import families
from napari_mrgen.app.jobs.notify import Notices, foremost, listed
from napari_mrgen.engine.family import Exports, Family, Input, TrainConfig
from napari_mrgen.engine.run.model_header import read_header
from napari_mrgen.errors import MrgenError, unknown

Task = Literal["train", "train_and_predict", "predict"]

_FOLDER = "results"
_NO_NAME = '/\\:*?"<>|'
_LONGEST = 100


def _check_name(name: str) -> str:
    """Refuse what a folder may not be called everywhere."""
    is_plain = name.isprintable() and set(_NO_NAME).isdisjoint(name) and name == name.strip(" .")
    if not (is_plain and 0 < len(name) <= _LONGEST):
        msg = (
            f"a folder gets this name, so up to {_LONGEST} letters, none of {' '.join(_NO_NAME)}, "
            "and no dot or blank at either end"
        )
        raise ValueError(msg)
    return name


Paths = Annotated[tuple[Path, ...], BeforeValidator(listed)]


class Entry(BaseModel):
    """A part of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Prediction(Entry):
    """What a trained model is used for; without inputs for the scans that were held out."""

    inputs: Mapping[str, Path] = {}
    """A file or folder by role."""
    settings: Mapping[str, Any] = {}
    """Of generation."""


class Job(Entry):
    """One line of the list."""

    name: Annotated[str, AfterValidator(_check_name)]
    task: Task = "train"
    family: str | None = None
    preset: str = "base"
    settings: Mapping[str, Any] = {}
    """Of the training; where the job only predicts, of generation."""
    inputs: Mapping[str, Paths] = {}
    """Files and folders by role, of the training; where the job only predicts, of that."""
    out: Path
    """Its folder."""
    device: str = "auto"
    precision: str = "auto"
    split: Path | None = None
    stage: str | None = None
    """Train this stage alone."""
    start_from: Path | None = None
    """A model or run folder that the first weights come from."""
    model: Path | None = None
    """What a job that only predicts uses: a run folder, such as of a job before it, or a model."""
    predict: Prediction = Prediction()
    """What a job that trains and predicts does with its model."""
    truth: Path | None = None
    """What predictions should be: a file or folder; scans go with those of the same subject."""
    weights: Literal["all"] | Annotated[int, Field(ge=0)] = 0
    """How many of the weights saved on the way are kept, spread over the training."""
    export: Literal[False, "onnx"] = False
    """Whether the trained model is written for use without this program, too."""

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        if self.trains and self.family is None:
            raise ValueError("a training needs a family")
        if not self.trains and self.model is None:
            msg = "a job that only predicts needs a model: the folder of a run, or a model file"
            raise ValueError(msg)
        if self.task != "train_and_predict" and self.predict != Prediction():
            msg = f"a job with the task {self.task!r} has no part `predict`"
            raise ValueError(msg)
        return self

    @property
    def trains(self) -> bool:
        return self.task != "predict"

    @property
    def predicts(self) -> bool:
        return self.task != "train"

    @property
    def prediction(self) -> Prediction:
        """What to predict, and how.

        Raises
        ------
        MrgenError
            If there are several paths for one role.
        """
        if self.trains:
            return self.predict
        for role, paths in self.inputs.items():
            if len(paths) > 1:
                msg = f"The input {role!r} takes one file or folder here, got {len(paths)}."
                raise MrgenError(msg)
        inputs = {role: paths[0] for role, paths in self.inputs.items()}
        return Prediction(inputs=inputs, settings=self.settings)

    def train_family(self) -> Family:
        return families.get(str(self.family))

    def train_config(self) -> TrainConfig:
        preset: TrainConfig = self.train_family().preset(self.preset)
        return preset.with_values(dict(self.settings))


class JobFile(Entry):
    """A list of jobs, and the notices that are sent about them."""

    jobs: tuple[Job, ...] = Field(min_length=1)
    notify: Notices | None = None
    translated: tuple[str, ...] = ()
    """What the keys of another layout mean here, where that has changed."""


def read_jobs(path: Path) -> JobFile:
    """Read a file of jobs, in this layout or that of the published system.

    Raises
    ------
    MrgenError
        If it cannot be: with the job and the key that are wrong.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        msg = f"{path} cannot be read ({reason}); check the path."
        raise MrgenError(msg) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        msg = f"{path.name} is not a YAML file: {' '.join(str(error).split())}."
        raise MrgenError(msg) from None
    from napari_mrgen.app.jobs import published_layout

    folder = path.absolute().parent
    if published_layout.is_published_layout(values):
        return check(published_layout.translate(values, folder))
    return check(parse_jobs(values, folder))


def parse_jobs(values: Any, folder: Path) -> JobFile:
    """Return the jobs of plain values; relative paths start from ``folder``."""
    if not isinstance(values, dict) or not isinstance(values.get("jobs"), list):
        raise MrgenError("Expected a YAML file with a list under `jobs:`; see docs/how-to/jobs.md.")
    for key in values:
        if key not in ("jobs", "out", "defaults", "notify"):
            raise unknown("key", str(key), ("jobs", "out", "defaults", "notify"))
    out = folder / os.path.expanduser(str(values.get("out") or _FOLDER))
    defaults = _mapping(values.get("defaults"), "defaults")
    jobs = tuple(
        _parse_job(_merged(defaults, _mapping(entry, f"job {number}")), number, folder, out)
        for number, entry in enumerate(values["jobs"], 1)
    )
    if not jobs:
        raise MrgenError("The list under `jobs:` is empty; add a job to it.")
    notices = values.get("notify")
    return JobFile(jobs=jobs, notify=None if notices is None else Notices.read(notices))


def check(file: JobFile) -> JobFile:
    """Find mistakes in any job before the first one begins; return the file."""
    for what in ("name", "out"):
        counts = Counter(str(getattr(job, what)) for job in file.jobs)
        twice = [value for value, count in counts.items() if count > 1]
        if twice:
            msg = f"Two jobs have the {what} {twice[0]!r}; give each its own."
            raise MrgenError(msg)
    made: dict[Path, Family] = {}
    for job in file.jobs:
        try:
            check_settings(job, made)
        except MrgenError as error:
            msg = f"Job {job.name!r}: {error}"
            raise MrgenError(msg) from None
        if job.trains:
            made[job.out] = job.train_family()
    return file


def check_settings(job: Job, made: Mapping[Path, Family] = MappingProxyType({})) -> None:
    """Refuse what is wrong whatever the data are.

    Parameters
    ----------
    made
        The families of the models that jobs before this one make, by their folders.
    """
    if job.trains:
        _check_training(job)
    family = job.train_family() if job.trains else _family_of(job, made)
    prediction = job.prediction
    _check_known(prediction.inputs, family.generate_inputs)
    family.generate_config.parse(dict(prediction.settings))


def _family_of(job: Job, made: Mapping[Path, Family]) -> Family:
    """Return the family of the model that a job predicts with."""
    model = job.model or job.out
    before = next((made[path] for path in (model, *model.parents) if path in made), None)
    if before is not None:
        return before
    if not model.exists():
        msg = f"The model {model} is not there, and no job before this one makes it."
        raise MrgenError(msg)
    return families.get(read_header(model).family)


def _check_known(roles: Iterable[str], inputs: Sequence[Input]) -> None:
    known = [one.role for one in inputs]
    for role in roles:
        if role not in known:
            raise unknown("input", role, known)


def _check_training(job: Job) -> None:
    family, config = job.train_family(), job.train_config()
    _check_known(job.inputs, family.train_inputs)
    if job.stage is not None:
        config.check_stage(job.stage, has_start=job.start_from is not None)
    if job.export and (why := _why_no_export(family, config)):
        msg = f"{why} Leave `export` out."
        raise MrgenError(msg)


def _why_no_export(family: Family, config: TrainConfig) -> str:
    """Say what would fail after the training; nothing where it can be exported."""
    if not isinstance(family, Exports):
        return f"No network of the family {family.name!r} can be exported to ONNX."
    for module in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(module) is None:
            return f"The export needs {module}: pip install 'napari-mrgen[export]' brings it."
    return family.why_no_export(config)


def write_jobs(jobs: Sequence[Job], path: Path, notices: Notices | None = None) -> None:
    """Write jobs as a file that `read_jobs` reads."""
    values: dict[str, Any] = {"jobs": [plain(job) for job in jobs]}
    if notices is not None:
        values["notify"] = notices.model_dump(mode="json", exclude_defaults=True)
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def plain(job: Job) -> dict[str, Any]:
    """Return a job as plain values, without those that go without saying."""
    values = job.model_dump(mode="json", exclude_defaults=True)
    return {"name": job.name, "task": job.task, **values}


def nearest_preset(family: Family, config: TrainConfig) -> tuple[str, dict[str, Any]]:
    """Return the preset that a configuration is most like, and the settings that differ."""
    values = config.model_dump(mode="json")

    def differing(preset: TrainConfig) -> dict[str, Any]:
        other = preset.model_dump(mode="json")
        return {name: value for name, value in values.items() if other[name] != value}

    found = {name: differing(preset.config) for name, preset in family.presets.items()}
    name = min(found, key=lambda name: len(found[name]))
    return name, found[name]


# ---------------------------------------------------------------- from plain values


def _parse_job(values: Mapping[str, Any], number: int, folder: Path, out: Path) -> Job:
    name = values.get("name")
    where = f"Job {name!r}" if isinstance(name, str) else f"Job {number}"
    job = parse_entry(Job, {**values, "out": values.get("out") or out / str(name)}, where)
    return anchored(job, folder)


def anchored(job: Job, folder: Path) -> Job:
    """Return a job whose paths do not depend on where the program was started."""

    def place(path: Path) -> Path:
        return Path(os.path.normpath(folder / path.expanduser()))

    def optional(path: Path | None) -> Path | None:
        return None if path is None else place(path)

    inputs = {role: tuple(map(place, paths)) for role, paths in job.inputs.items()}
    used = {role: place(path) for role, path in job.predict.inputs.items()}
    return job.model_copy(
        update={
            "inputs": inputs,
            "predict": job.predict.model_copy(update={"inputs": used}),
            "out": place(job.out),
            **{name: optional(getattr(job, name)) for name in ("split", "start_from", "model")},
            "truth": optional(job.truth),
        }
    )


def _mapping(values: Any, where: str) -> dict[str, Any]:
    if values is None or isinstance(values, dict):
        return dict(values or {})
    msg = f"Expected `key: value` lines in {where}, got {values!r}."
    raise MrgenError(msg)


def _merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Put a job's own values over the common ones; those within settings and inputs singly.

    Common settings of trainings are none of a job that only predicts.
    """
    if own.get("task") == "predict" != defaults.get("task"):
        defaults = {key: value for key, value in defaults.items() if key != "settings"}
    both = {
        key: {**defaults[key], **own[key]}
        for key in defaults.keys() & own.keys()
        if isinstance(defaults[key], dict) and isinstance(own[key], dict)
    }
    return {**defaults, **own, **both}


AnyEntry = TypeVar("AnyEntry", bound=Entry)


def parse_entry(kind: type[AnyEntry], values: Mapping[str, Any], where: str) -> AnyEntry:
    """Make a part of the file of untrusted values; what is wrong is named in one sentence."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problem = foremost(error)
    key = ".".join(str(part) for part in problem["loc"] if isinstance(part, str))
    if problem["type"] == "extra_forbidden":
        known = _keys_at(kind, problem["loc"][:-1])
        msg = f"{where}: {unknown('key', str(problem['loc'][-1]), known)}"
        raise MrgenError(msg) from None
    said = problem["msg"].removeprefix("Value error, ")
    got = f", got {problem['input']!r}" if key and problem["type"] != "missing" else ""
    msg = f"{where}: {f'{key}: ' if key else ''}{said[0].lower()}{said[1:]}{got}."
    raise MrgenError(msg)


def _keys_at(kind: type[Entry], place: Sequence[Any]) -> list[str]:
    """Return the keys that a part of a part may have."""
    for name in place:
        inner = kind.model_fields[str(name)].annotation
        if not (isinstance(inner, type) and issubclass(inner, Entry)):
            break
        kind = inner
    return list(kind.model_fields)
