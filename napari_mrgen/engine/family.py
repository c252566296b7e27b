"""What a model family is, and what it hands to the engine.

A family is a folder ``families/<name>/`` with the same five files. `Family` is the one value that
the rest of the program sees of it. It names the folder's functions and imports them only when they
are called, so a form or ``--help`` can be made from a family without paying for torch.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_mrgen.config import Config, setting
from napari_mrgen.data.inputs import Inputs
from napari_mrgen.errors import MrgenError, unknown
from napari_mrgen.volume import Volume

if TYPE_CHECKING:
    import torch
    from torch import nn

    from napari_mrgen.data.progress import Progress
    from napari_mrgen.engine.device import Precision
    from napari_mrgen.engine.exportable import Exportable
    from napari_mrgen.engine.task import Stage
    from napari_mrgen.metrics.image_set import Sets
    from napari_mrgen.metrics.scoreboard import Score
    from napari_mrgen.metrics.volumes import Comparison

    Networks = Mapping[str, nn.Module]


OLD_PRESETS = {"seed": "published", "seed_deep": "published_deep"}
"""Names of presets that earlier versions wrote, and what each is called today."""


class TrainConfig(Config):
    """Settings that every family's training has; a family adds its own."""

    seed: int = setting(0, ge=0, lt=2**31)
    """Every random draw of the run follows from this number."""
    batch_size: int = setting(8, ge=1, le=4096)
    """Samples seen in one training step."""
    held_out: float = setting(0.25, gt=0, lt=1, title="Held-out share")
    """Share of the subjects kept for testing; they are never trained on."""
    ema_decay: float = setting(0.999, ge=0, lt=1, level="advanced", title="Weight averaging")
    """Decay of the moving average of the weights; the average is what is saved as the model."""
    save_every: int = setting(250, ge=1, unit="steps", level="advanced")
    """Steps between two checkpoints; at most so much is lost in a crash."""
    preview_every: int = setting(100, ge=1, unit="steps", level="advanced")
    """Steps between two previews and evaluations on held-out subjects."""

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that this configuration trains, in order."""
        raise NotImplementedError

    @property
    def why_no_onnx(self) -> str:
        """Why the networks cannot be exported to ONNX; nothing where they can."""
        return ""

    @property
    def source_roles(self) -> tuple[str, ...] | None:
        """Roles of images that generation takes after such a training; None are the family's."""
        return None

    def check_stage(self, name: str, *, has_start: bool) -> None:
        """Refuse to train a stage alone that is not there, or has nothing to go on from."""
        if name not in self.stages:
            raise unknown("stage", name, self.stages)
        if name != self.stages[0] and not has_start:
            before = self.stages[self.stages.index(name) - 1]
            msg = (
                f"Stage {name!r} goes on from what stage {before!r} has learned: name the model "
                f"that it shall start from, or set {before}_steps=0 to do without."
            )
            raise MrgenError(msg)


class GenerateConfig(Config):
    """Settings that every family's generation has; a family adds its own."""

    seed: int = setting(0, ge=0, lt=2**31)
    """The same seed, model and input give the same result."""

    @property
    def results(self) -> int:
        """How many results there will be of one input."""
        return 1


class SamplingConfig(GenerateConfig):
    """Settings of a family that draws: any number of results, of one input or of none."""

    samples: int = setting(1, ge=1, le=100_000)
    """How many results to draw."""

    @property
    def results(self) -> int:
        return self.samples


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
    """Whether generation reads its file again: a service takes no such files from elsewhere."""


@dataclass(frozen=True)
class Advice:
    """A way to make a training fit into the memory that there is."""

    title: str
    changes: Mapping[str, Any]
    """Settings to change, by name."""
    precision: str
    """To train in."""
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
    """Rows of *Look at the model*: layer, output shape, parameters."""
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


@dataclass(frozen=True)
class Survey:
    """How the scans of a training lie, and what will be done with them: a table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    """What it comes to, a sentence each."""


@dataclass(frozen=True)
class Family:
    """One kind of model: how it is configured, trained, used and judged."""

    name: str
    title: str
    summary: str
    paper: str
    package: str
    train_inputs: tuple[Input, ...]
    generate_inputs: tuple[Input, ...]
    train_config: type[TrainConfig]
    generate_config: type[GenerateConfig]
    presets: Mapping[str, TrainConfig]
    sample: str
    """Key of the built-in sample that shows this family at work."""

    def preset(self, name: str) -> TrainConfig:
        name = OLD_PRESETS.get(name, name)
        if name not in self.presets:
            raise unknown("preset", name, self.presets)
        return self.presets[name]

    def networks(self, config: TrainConfig, shape: tuple[int, ...]) -> dict[str, nn.Module]:
        """Build the untrained networks; works on the meta device."""
        return self._call("networks", "networks", config, shape)  # type: ignore[no-any-return]

    def plan(self, config: TrainConfig, inputs: Inputs, precision: Precision = "32-true") -> Plan:
        return self._call("training", "plan", config, inputs, precision)  # type: ignore[no-any-return]

    def savings(self, config: TrainConfig) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return what would need less memory, the mildest first: its name, and the new settings.

        A family that has a choice has a function ``savings`` in its ``training.py``; a smaller
        batch is one for all others.
        """
        if savings := self._optional("training", "savings"):
            return savings(config)  # type: ignore[no-any-return]
        half = config.batch_size // 2
        return [(f"a batch of {half}", {"batch_size": half})] if half else []

    def survey(self, config: TrainConfig, inputs: Inputs) -> Iterator[Survey | Progress]:
        """Read every scan and say how far that is; at the end, what will be done with each.

        Only a family to which it matters how scans lie to one another has that, as a function
        ``survey`` in its ``training.py``. Nothing is changed, registered or kept for it.
        """
        if survey := self._optional("training", "survey"):
            yield from survey(config, inputs)

    def preview_data(self, config: TrainConfig, inputs: Inputs) -> Iterator[DataPreview | Progress]:
        """Show exactly what the networks will be fed, at the end.

        Where that takes long, a family's function is a generator that says how far it is.
        """
        found = self._call("training", "preview_data", config, inputs)
        yield from (found,) if isinstance(found, DataPreview) else found

    def stages(self, config: TrainConfig, inputs: Inputs) -> Iterator[Stage | Progress]:
        """Yield the stages one by one; the second sees what the first has learned.

        Between them it may say how far the preparation of the data is.
        """
        return self._call("training", "stages", config, inputs)  # type: ignore[no-any-return]

    def generate(
        self,
        networks: Networks,
        trained: TrainConfig,
        config: GenerateConfig,
        inputs: Mapping[str, Volume],
        generator: torch.Generator,
        data: Mapping[str, Any],
    ) -> Iterator[Volume]:
        """Yield named results one by one, so that ten thousand samples stream.

        ``data`` is what the model knows of its training data: its stage's `Dataset.describe`.
        """
        arguments = (networks, trained, config, inputs, generator, data)
        return self._call("generation", "generate", *arguments)  # type: ignore[no-any-return]

    def score(self, networks: Networks, trained: TrainConfig, inputs: Inputs) -> Iterator[Score]:
        """Yield one `Score` a subject and method: the model, and the trivial methods beside it.

        Judged on the held-out scans of ``inputs``. Its training scans are there for figures that
        compare with them, such as copies; there may be none, and such figures are then left out.
        """
        return self._call("generation", "score", networks, trained, inputs)  # type: ignore[no-any-return]

    def sets(self, networks: Networks, trained: TrainConfig, inputs: Inputs) -> Sets | None:
        """Draw the sets of images that `score` judges, from the same seed; None without any.

        Only a family that makes independent images has them, as a function ``sets`` in its
        ``generation.py``; they are what the figure of `evaluate` shows.
        """
        sets = self._optional("generation", "sets")
        return sets(networks, trained, inputs) if sets else None

    def comparisons(
        self, networks: Networks, trained: TrainConfig, inputs: Inputs
    ) -> Iterator[Comparison] | None:
        """Yield made volumes beside the real ones, as `score` judges them; None without any.

        Only a family that translates volumes has them, as a function ``comparisons`` in its
        ``generation.py``; they are what the figure of `evaluate` shows.
        """
        comparisons = self._optional("generation", "comparisons")
        return comparisons(networks, trained, inputs) if comparisons else None

    def exports(self, networks: Networks, trained: TrainConfig) -> Iterator[Exportable]:
        """Yield the networks that can be used without this program, each by itself.

        A family that has such networks has a function ``exports`` in its ``export.py``.
        """
        exports = self._optional("export", "exports")
        return exports(networks, trained) if exports else iter(())

    @property
    def has_exports(self) -> bool:
        return importlib.util.find_spec(f"{self.package}.export") is not None

    def _call(self, module: str, function: str, *arguments: Any) -> Any:
        return getattr(importlib.import_module(f"{self.package}.{module}"), function)(*arguments)

    def _optional(self, module: str, function: str) -> Callable[..., Any] | None:
        """Return a function that not every family has; None where there is none."""
        name = f"{self.package}.{module}"
        if importlib.util.find_spec(name) is None:
            return None
        return getattr(importlib.import_module(name), function, None)
