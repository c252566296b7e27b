"""What a model family is, and what it hands to the rest of the program.

A family is a folder ``families/<name>/`` whose ``__init__.py`` holds one instance of a `Family`, as
``FAMILY``. Its methods import the modules behind them when they are called, so a form or ``--help``
is made from a family without importing torch.
"""

from __future__ import annotations

import difflib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from typing_extensions import TypeVar

from napari_mrgen.config import Config, setting
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.data.progress import Progress
from napari_mrgen.errors import MrgenError, unknown
from napari_mrgen.io.find import Reference, find
from napari_mrgen.volume import Volume

if TYPE_CHECKING:
    import torch
    from torch import nn

    from napari_mrgen.engine.device import Precision
    from napari_mrgen.engine.exportable import Exportable
    from napari_mrgen.engine.task import Networks, Stage
    from napari_mrgen.metrics.distributions import Sets
    from napari_mrgen.metrics.scoreboard import Score
    from napari_mrgen.metrics.volumes import Comparison

OLD_PRESETS = {"seed": "published", "seed_deep": "published_deep"}
"""Names of presets that earlier versions wrote, and what each is called today."""


class TrainConfig(Config):
    """Settings that every family's training has; a family adds its own."""

    seed: int = setting(0, ge=0, lt=2**31)
    """Seed of all random numbers of the run."""
    batch_size: int = setting(8, ge=1, le=4096)
    """Samples in one training step."""
    held_out: float = setting(0.25, gt=0, lt=1, title="Held-out share")
    """Share of the subjects that are held out for testing; they are never trained on."""
    ema_decay: float = setting(0.999, ge=0, lt=1, level="advanced", title="Weight averaging")
    """Decay of the exponential moving average of the weights; the average is saved as the model."""
    save_every: int = setting(250, ge=1, unit="steps", level="advanced")
    """Steps between two checkpoints; a crash loses at most as many."""
    preview_every: int = setting(100, ge=1, unit="steps", level="advanced")
    """Steps between two previews and evaluations on held-out subjects."""

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that this configuration trains, in order."""
        raise NotImplementedError

    def check_stage(self, name: str, *, has_start: bool) -> None:
        """Refuse to train a stage alone that is not there, or has nothing to go on from."""
        if name not in self.stages:
            raise unknown("stage", name, self.stages)
        if name != self.stages[0] and not has_start:
            before = self.stages[self.stages.index(name) - 1]
            msg = (
                f"Stage {name!r} goes on from what stage {before!r} has learned: name the model "
                f"to start from, or set {before}_steps=0 to do without."
            )
            raise MrgenError(msg)


class GenerateConfig(Config):
    """Settings that every family's generation has; a family adds its own."""

    for_jobs: ClassVar[Mapping[str, Any]] = {}
    """Settings of a job's predictions where the job says nothing else, by name."""

    seed: int = setting(0, ge=0, lt=2**31)
    """The same seed, model and input give the same result."""

    mark_synthetic: bool = setting(True, level="advanced")
    """Write "synthetic" into the corner of movies and pictures of the results. Without it only the
    metadata of the files and the JSON beside them say so."""

    @property
    def results(self) -> int:
        """How many results there will be of one input."""
        return 1

    @property
    def frames_each(self) -> int:
        """Frames of each result, where the settings fix their number."""
        return 1

    def expected_in(self, source: Volume, result: Volume) -> Volume | None:
        """Return the part of a source that a result predicts; None where it predicts none."""
        del source, result
        return None


class SamplingConfig(GenerateConfig):
    """Settings of a family that samples: any number of results, of one input or of none."""

    samples: int = setting(1, ge=1, le=100_000)
    """Number of results to sample."""

    @property
    def results(self) -> int:
        return self.samples


TrainC = TypeVar("TrainC", bound=TrainConfig, default=Any)
GenerateC = TypeVar("GenerateC", bound=GenerateConfig, default=Any)
Roles = Mapping[str, Sequence[Reference]]
"""Scans by the role that they have in a training or a generation."""
Finder = Callable[[Path, str, tuple[str, ...]], Roles]
"""Finds scans at a path for a role with certain axes, and those of other roles in a folder."""


def find_scans(path: Path, role: str, axes: tuple[str, ...]) -> Roles:
    """Find all scans with these axes under a path, as every role does that has no own `Finder`."""
    return {role: find(path, axes)}


@dataclass(frozen=True)
class Preset(Generic[TrainC]):
    """A configuration with a name, and what it is for.

    The first paragraph of ``help`` is shown beside the preset; a published system's preset says in
    further paragraphs what was published, and what differs here.
    """

    config: TrainC
    help: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "help", inspect.cleandoc(self.help))

    @property
    def summary(self) -> str:
        """First paragraph of the help, in one line."""
        return " ".join(self.help.partition("\n\n")[0].split())


@dataclass(frozen=True)
class Input:
    """One thing that a family reads, from which panels and the command line make their pickers."""

    role: str
    title: str
    axes: tuple[str, ...]
    help: str = ""
    many: bool = False
    optional: bool = False
    kind: str = "image"
    from_file: bool = False
    """Whether generation reads more of the file than its image, as the samples of k-space. A
    service takes no such input."""
    is_target: bool = False
    """Whether it is what the model is trained to make."""
    finder: Finder = find_scans
    """Finds the scans of a path that is given for the role."""
    reader: Callable[[Reference], Volume] = Reference.read
    """Reads a scan that was found."""
    named: Callable[[Path, str], bool | None] | None = None
    """Whether an image has a role by its name; None where the name does not say."""

    def is_named(self, path: Path) -> bool | None:
        """Return whether an image is this input by its name; None where that does not say."""
        return None if self.named is None else self.named(path, self.role)

    def facts(self) -> dict[str, Any]:
        """Return what is known of the input as plain values, for programs."""
        hidden = ("is_target", "finder", "reader", "named")
        return {name: value for name, value in vars(self).items() if name not in hidden}


@dataclass(frozen=True)
class Advice:
    """A way to make a training fit into the memory that there is."""

    title: str
    changes: Mapping[str, Any]
    """Settings to change, by name."""
    precision: str
    """Precision of the training."""
    memory_bytes: int
    """Peak memory of the training then."""


@dataclass(frozen=True)
class Plan:
    """What a training will need, found without running a step."""

    shape: tuple[int, ...]
    """Shape of one sample as the networks see it, after padding or cropping."""
    parameters: int
    flops_per_step: int
    memory_bytes: int
    """Peak memory of training."""
    layers: tuple[tuple[str, str, int], ...] = ()
    """Rows of the *Model summary*: layer, output shape, parameters."""
    notes: tuple[str, ...] = ()
    precision: str = "32-true"
    advice: tuple[Advice, ...] = ()
    """What makes it fit where it does not, the mildest first."""


@dataclass(frozen=True)
class DataPreview:
    """What the network will see: a montage, and what looks wrong."""

    montage: Volume
    train: tuple[str, ...]
    test: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, montage: Volume, inputs: Inputs, warnings: tuple[str, ...] = ()) -> DataPreview:
        """Show a montage beside the subjects of these inputs."""
        return cls(montage, inputs.split.train, inputs.split.test, warnings)


@dataclass(frozen=True)
class Survey:
    """How the scans of a training lie, and what will be done with them: a table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    """What it comes to, a sentence each."""


class Family(ABC, Generic[TrainC, GenerateC]):
    """One kind of model: how it is configured, trained, used and scored.

    What only some families can do are the classes `SamplesSets`, `ComparesVolumes`, `Exports` and
    `SurveysData`: a family derives from them beside this one, and ``isinstance`` tells whether it
    does. A public name of a family's class must override one of its bases, so that a misspelt
    method is an error where the class is made.
    """

    name: ClassVar[str]
    """Name of its folder."""
    title: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    train_inputs: ClassVar[tuple[Input, ...]]
    generate_inputs: ClassVar[tuple[Input, ...]]
    train_config: type[TrainC]
    generate_config: type[GenerateC]
    presets: Mapping[str, Preset[TrainC]]
    sample: ClassVar[str] = ""
    """Key of the built-in sample that shows this family at work."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        bases = [vars(base) | inspect.get_annotations(base) for base in cls.__mro__[1:]]
        known = {name for names in bases for name in names}
        for name in vars(cls):
            if not name.startswith("_") and name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                msg = f"{cls.__name__}.{name} overrides nothing of {Family.__name__}{hint}"
                raise TypeError(msg)

    def preset(self, name: str) -> TrainC:
        """Return the configuration of that name."""
        name = OLD_PRESETS.get(name, name)
        if name not in self.presets:
            raise unknown("preset", name, self.presets)
        return self.presets[name].config

    @abstractmethod
    def networks(self, config: TrainC, shape: tuple[int, ...]) -> dict[str, nn.Module]:
        """Build the untrained networks that a model file holds; works on the meta device."""

    @abstractmethod
    def plan(self, config: TrainC, inputs: Inputs, precision: Precision = "32-true") -> Plan:
        """Say what a training will need, without running a step."""

    def savings(self, config: TrainC) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return what would need less memory, the mildest first: its name, and the new settings.

        By default that is a smaller batch.
        """
        half = config.batch_size // 2
        return [(f"a batch of {half}", {"batch_size": half})] if half else []

    @abstractmethod
    def preview_data(self, config: TrainC, inputs: Inputs) -> Iterator[DataPreview | Progress]:
        """Show exactly what the networks will be fed, at the end; say first how far that is."""

    @abstractmethod
    def stages(self, config: TrainC, inputs: Inputs) -> Iterator[Stage | Progress]:
        """Yield the stages one by one; the second sees what the first has learned.

        Between them it may say how far the preparation of the data is.
        """

    def check_inputs(self, references: Roles) -> None:
        """Refuse scans that cannot be trained on together; by default nothing is refused."""

    def source_roles(self, config: TrainC) -> tuple[str, ...]:
        """Roles of the images that a model of this training generates from."""
        return tuple(spec.role for spec in self.generate_inputs if spec.kind == "image")

    @abstractmethod
    def generate(
        self,
        networks: Networks,
        trained: TrainC,
        config: GenerateC,
        inputs: Mapping[str, Volume],
        generator: torch.Generator,
        data: Mapping[str, Any],
    ) -> Iterator[Volume]:
        """Yield named results one by one, so that ten thousand samples stream.

        ``data`` is what the model knows of its training data: its stage's `Dataset.describe`.
        """

    @abstractmethod
    def score(self, networks: Networks, trained: TrainC, inputs: Inputs) -> Iterator[Score]:
        """Yield one `Score` a subject and method: the model, and baselines beside it.

        The held-out scans of ``inputs`` are scored. Its training scans are there for metrics that
        compare with them, such as near-copies; there may be none, and such metrics are left out.
        """


class SamplesSets(ABC):
    """A family that makes independent images, which are scored as a set."""

    @abstractmethod
    def sets(self, networks: Networks, trained: Any, inputs: Inputs) -> Sets:
        """Sample the sets of images that `Family.score` scores, from the same seed."""


class ComparesVolumes(ABC):
    """A family whose volumes have a real one to be compared with, such as a translation."""

    @abstractmethod
    def comparisons(
        self, networks: Networks, trained: Any, inputs: Inputs
    ) -> Iterator[Comparison] | None:
        """Yield generated volumes beside the real ones, as `Family.score` scores them."""


class Exports(ABC):
    """A family with networks that can be used without this program."""

    @abstractmethod
    def exports(self, networks: Networks, trained: Any) -> Iterator[Exportable]:
        """Yield these networks, each by itself."""

    def why_no_export(self, trained: Any) -> str:
        """Say why the networks of such a training cannot be exported; nothing where they can."""
        return ""


class SurveysData(ABC):
    """A family to which it matters how scans lie to one another."""

    @abstractmethod
    def survey(self, config: Any, inputs: Inputs) -> Iterator[Survey | Progress]:
        """Read every scan and say how far that is; at the end, what will be done with each.

        Nothing is changed, registered or kept for it.
        """
