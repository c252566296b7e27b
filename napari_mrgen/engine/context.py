"""What all parts of a training need to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_mrgen.data.inputs import Inputs
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.distributed import Action, ProcessGroup
from napari_mrgen.engine.family import Family, TrainConfig
from napari_mrgen.engine.run.folder import RunOptions, hash_split
from napari_mrgen.engine.run.model import save_model
from napari_mrgen.engine.run.model_header import Header
from napari_mrgen.engine.task import Draws, EarlyStoppingState, Stage
from napari_mrgen.engine.weights import WeightAverage


@dataclass(frozen=True)
class TrainingContext:
    """A run with its settings, data, folder, processes and control."""

    family: Family
    config: TrainConfig
    inputs: Inputs
    run_dir: Path
    options: RunOptions
    group: ProcessGroup
    control: Control

    @property
    def checkpoints(self) -> Path:
        return self.run_dir / "checkpoints"

    def model_path(self, which: str = "") -> Path:
        """Return the file of the run's model, or of another that the run keeps.

        Others are that of a finished stage, by its name, and of a stage with `EarlyStopping` its
        ``best`` model and the ``last`` one, which it had at its end.
        """
        return self.run_dir / (f"model-{which}.safetensors" if which else "model.safetensors")

    def draws(self, stage: str) -> Draws:
        return Draws((self.config.seed, stage))

    def requested_action(self) -> Action:
        """Return what this process's control asks for; `ProcessGroup.agree` says what all do."""
        if self.control.is_stopped:
            return Action.STOP
        return Action.PAUSE if self.control.is_paused else Action.CONTINUE

    def save_model(
        self, path: Path, state: StageState, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Write the averaged networks of a stage as a model file."""
        header = Header(
            family=self.family.name,
            stage=state.stage.name,
            step=state.step if state.best_step is None else state.best_step,
            config=self.config.model_dump(mode="json"),
            data=dict(state.stage.dataset.describe()),
            networks=tuple(state.average.networks),
            split=hash_split(self.inputs.split),
            subjects=len(self.inputs.split.train),
            metrics=dict(state.metrics if metrics is None else metrics),
        )
        save_model(path, state.average.networks, header)


@dataclass
class StageState:
    """A stage in training: its average, its step, and its last metrics."""

    index: int
    stage: Stage
    average: WeightAverage
    step: int = 0
    saved: int | None = None
    """Step of the last state written."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    early_stopping: EarlyStoppingState = field(default_factory=EarlyStoppingState)
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
