"""Job: what all parts of a training need to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.distributed import Team, Wish
from napari_mrgen.engine.family import Family, TrainConfig
from napari_mrgen.engine.patience import Standing
from napari_mrgen.engine.run.folder import Choices, hash_split
from napari_mrgen.engine.run.model import save_model
from napari_mrgen.engine.run.model_header import Header
from napari_mrgen.engine.task import Draws, Stage
from napari_mrgen.engine.weights import Average


@dataclass(frozen=True)
class Job:
    """A run with its folder, its processes and its control."""

    family: Family
    config: TrainConfig
    inputs: Inputs
    run_dir: Path
    choices: Choices
    team: Team
    control: Control

    @property
    def checkpoints(self) -> Path:
        return self.run_dir / "checkpoints"

    @property
    def model_path(self) -> Path:
        return self.run_dir / "model.safetensors"

    @property
    def best_path(self) -> Path:
        """Where the best model of a stage with `Patience` is kept while it trains."""
        return self.run_dir / "model-best.safetensors"

    @property
    def last_path(self) -> Path:
        """Where such a stage leaves the model that it had at its end."""
        return self.run_dir / "model-last.safetensors"

    def stage_model_path(self, stage: str) -> Path:
        """Where the model of a stage is kept; it is there once the stage is finished."""
        return self.run_dir / f"model-{stage}.safetensors"

    def draws(self, stage: str) -> Draws:
        return Draws((self.config.seed, stage))

    def wish(self) -> Wish:
        """What this process's control asks for; `Team.agree` says what all do."""
        if self.control.is_stopped:
            return Wish.STOP
        return Wish.PAUSE if self.control.is_paused else Wish.GO

    def save_model(
        self, path: Path, trainee: Trainee, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Write the averaged networks of a stage as a model file."""
        header = Header(
            family=self.family.name,
            stage=trainee.stage.name,
            step=trainee.step if trainee.best_step is None else trainee.best_step,
            config=self.config.model_dump(mode="json"),
            data=dict(trainee.stage.dataset.describe()),
            networks=tuple(trainee.average.networks),
            split=hash_split(self.inputs.split),
            subjects=len(self.inputs.split.train),
            metrics=dict(trainee.metrics if metrics is None else metrics),
        )
        save_model(path, trainee.average.networks, header)


@dataclass
class Trainee:
    """A stage in training: its average, where it is, and how good it was when last looked at."""

    index: int
    stage: Stage
    average: Average
    step: int = 0
    saved: int | None = None
    """Step of the last state written."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    standing: Standing = field(default_factory=Standing)
    is_over: bool = False
    """Whether it was given up for want of improvement: all processes have agreed on that."""
    best_step: int | None = None
    """Step of the best model, once its weights have taken the place of the last ones."""
    was_finished: bool = False
    """Whether the stage was complete before this process began."""

    @property
    def is_complete(self) -> bool:
        ended = self.was_finished or self.is_over
        return ended or self.step >= self.stage.steps or self.stage.task.is_done
