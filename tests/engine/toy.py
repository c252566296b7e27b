"""A family that trains in a blink, with everything that makes resuming hard.

Two stages, two kinds of optimizer, running statistics, noise, dropout and augmentation; the second
stage trains two networks against each other and starts from the first one's network.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from napari_mrgen.config import setting
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.data.progress import Progress
from napari_mrgen.engine.device import Precision
from napari_mrgen.engine.family import (
    DataPreview,
    Family,
    GenerateConfig,
    Input,
    Plan,
    Preset,
    TrainConfig,
)
from napari_mrgen.engine.memory.measure import measure_step
from napari_mrgen.engine.task import Batch, Draws, EarlyStopping, Networks, Stage, Task
from napari_mrgen.io.find import Reference
from napari_mrgen.metrics.scoreboard import Score
from napari_mrgen.volume import Volume

NAME = "toy"


def on_step(stage: str, step: int) -> None:
    """Do what a test wants when a step begins: tests put their own in its place."""


class ToyConfig(TrainConfig):
    """Settings of the toy."""

    batch_size: int = 4
    steps: int = setting(12, ge=0)
    """Steps of each stage."""
    width: int = setting(4, ge=1, le=64)
    """Channels."""
    ballast: int = setting(0, ge=0)
    """Numbers that a network carries along, to make saving slow."""
    fail_at: int = setting(-1)
    """Step of the second stage that raises."""
    enough: int = setting(0, ge=0)
    """Steps after which the first stage finds that it is done; 0 is never."""
    learning_rate: float = setting(1e-2, gt=0)
    """Of all optimizers."""
    greed: int = setting(0, ge=0)
    """MiB that the first stage needs for each sample of a batch, in its second half."""
    patience: int | None = setting(None, ge=0)
    """Of the first stage; empty is none."""
    min_delta: float = setting(0.0, ge=0)
    """Of that patience."""
    monitor: Literal["mse", "nothing"] = setting("mse")
    """The figure that it watches."""
    preparing: int = setting(0, ge=0)
    """Parts of the preparation before the first stage."""

    @property
    def stages(self) -> tuple[str, ...]:
        return ("first", "second")


class Predictor(nn.Module):
    def __init__(self, width: int, ballast: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Conv2d(width, 1, 3, padding=1)
        self.register_buffer("ballast", torch.zeros(ballast))
        self.register_buffer("darkest", torch.zeros(1, dtype=torch.int16))

    def remember(self, image: Tensor) -> Tensor:
        """Return by how much each image is darker than the darkest one so far, and keep that."""
        darkness = (-100 * image.amin((1, 2, 3))).short()
        before = self.darkest.clone()
        self.darkest.copy_(torch.maximum(before, darkness.max()))
        return (darkness - before).clamp(min=0) / 100

    def forward(self, image: Tensor, keep: Tensor | None = None) -> Tensor:
        """Map (b, 1, y, x) to the same shape; ``keep`` (b, c, 1, 1) drops channels."""
        hidden = functional.relu(self.norm(self.body(image)))
        return image + self.head(hidden if keep is None else hidden * keep)


def build(config: ToyConfig) -> dict[str, nn.Module]:
    critic = nn.Sequential(
        nn.Conv2d(1, config.width, 3, stride=2), nn.Flatten(), nn.Linear(9 * config.width, 1)
    )
    return {"predictor": Predictor(config.width, config.ballast), "critic": critic}


@dataclass(frozen=True)
class ToyData:
    size: int = 10

    def __len__(self) -> int:
        return self.size

    def sample(self, index: int, generator: torch.Generator) -> Batch:
        image = torch.linspace(0, 1 + index, 64).reshape(1, 8, 8)
        turned = image.rot90(int(torch.randint(4, (), generator=generator)), (1, 2))
        return {"image": turned + 0.1 * torch.randn(1, 8, 8, generator=generator)}

    def held_out(self) -> Iterator[Batch]:
        yield {"image": torch.linspace(0, 2, 128).reshape(2, 1, 8, 8)}

    def describe(self) -> Mapping[str, Any]:
        return {"shape": [1, 8, 8], "scaling": {"upper": 1.0}}


class First(Task):
    """Denoise, with noise and dropout drawn from the step."""

    @property
    def is_done(self) -> bool:
        predictor = self.networks["predictor"]
        return bool(self.enough) and int(predictor.norm.num_batches_tracked) >= self.enough

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        on_step("first", step)
        greed = self.greed if 2 * step >= self.steps else 0
        bulk = torch.empty(len(batch["image"]), greed << 18)
        self.set_learning_rate("predictor", self.rate * 0.99**step)
        loss = self.loss(batch["image"], draws)
        self.update("predictor", loss)
        del bulk
        return {"error": loss.detach()}

    def loss(self, image: Tensor, draws: Draws) -> Tensor:
        noise = torch.randn(image.shape, generator=draws("noise")).to(image.device)
        keep = torch.rand(len(image), self.width, 1, 1, generator=draws("dropout")) > 0.3
        output = self.networks["predictor"](image + 0.2 * noise, keep.to(image) / 0.7)
        darker = self.together(self.networks["predictor"].remember, image)
        errors = (output - image).square().mean((1, 2, 3))
        return (errors * (1 + darker)).mean()

    def evaluate(self, networks: Networks, batch: Batch) -> Mapping[str, float]:
        output = networks["predictor"](batch["image"])
        return {"mse": float(functional.mse_loss(output, batch["image"]))}

    def preview(self, networks: Networks, draws: Draws) -> tuple[Volume, ...]:
        noise = torch.randn(1, 1, 8, 8, generator=draws()).to(self.device)
        array = networks["predictor"](noise)[0].cpu().numpy()
        return (Volume(array, "zyx", np.diag([8.0, 1.5, 1.5, 1.0]), name="preview"),)

    def finish(self, networks: Networks, folder: Path) -> None:
        with (folder / "finished.jsonl").open("a") as file:
            file.write(json.dumps(sorted(networks)) + "\n")


class Second(First):
    """The same against a critic that learns too."""

    def step(self, batch: Batch, step: int, draws: Draws) -> Mapping[str, Tensor]:
        on_step("second", step)
        if step == self.fail_at:
            msg = "the toy was told to fail"
            raise RuntimeError(msg)
        critic, predictor = self.networks["critic"], self.networks["predictor"]
        fake = predictor(batch["image"])
        gap = functional.softplus(critic(fake.detach())) + functional.softplus(
            -critic(batch["image"])
        )
        self.update("critic", gap.mean())
        critic.requires_grad_(False)
        loss = self.loss(batch["image"], draws) + 0.1 * functional.softplus(-critic(fake)).mean()
        self.update("predictor", loss)
        critic.requires_grad_(True)
        return {"error": loss.detach(), "critic": gap.mean().detach()}


def stages(config: ToyConfig, inputs: Inputs) -> Iterator[Stage | Progress]:
    for part in range(config.preparing):
        yield Progress("Cooking", part, config.preparing)
    task = _first(config)
    first = task.networks["predictor"]
    patience = None
    if config.patience is not None:
        patience = EarlyStopping(config.monitor, config.patience, config.min_delta)
    yield Stage("first", "First", config.steps, ToyData(), task, patience)
    both = build(config)
    both["predictor"] = copy.deepcopy(first)
    optimizers: dict[str, torch.optim.Optimizer] = {
        "predictor": torch.optim.Adam(both["predictor"].parameters(), lr=config.learning_rate),
        "critic": torch.optim.SGD(both["critic"].parameters(), lr=1e-2, momentum=0.9),
    }
    second = _configured(Second(both, optimizers, ("predictor",)), config)
    yield Stage("second", "Second", config.steps, ToyData(3), second)


def _first(config: ToyConfig) -> First:
    first = build(config)["predictor"]
    adam = torch.optim.AdamW(first.parameters(), lr=config.learning_rate)
    task = _configured(First({"predictor": first}, {"predictor": adam}, ("predictor",)), config)
    task.enough, task.greed = config.enough, config.greed
    return task


def _configured(task: First, config: ToyConfig) -> First:
    task.rate, task.width, task.fail_at = config.learning_rate, config.width, config.fail_at
    task.enough = task.greed = 0
    task.steps = config.steps
    return task


PRESETS = {"tiny": Preset(ToyConfig(), "Seconds.")}


class Toy(Family[ToyConfig, GenerateConfig]):
    """Takes everything from this file."""

    name = NAME
    title = "Toy"
    summary = "Trains in a blink."
    paper = ""
    train_inputs = (Input("image", "Images", ("zyx",), many=True),)
    generate_inputs = ()
    train_config = ToyConfig
    generate_config = GenerateConfig
    presets = PRESETS

    @override
    def networks(self, config: ToyConfig, shape: tuple[int, ...]) -> dict[str, nn.Module]:
        return build(config)

    @override
    def plan(self, config: ToyConfig, inputs: Inputs, precision: Precision = "32-true") -> Plan:
        def build_step() -> tuple[Task, Batch]:
            return _first(config), {"image": torch.zeros(config.batch_size, 1, 8, 8)}

        cost = measure_step(build_step, precision, config.steps - 1)
        return Plan((1, 8, 8), cost.parameters, cost.flops, cost.memory_bytes, cost.layers)

    @override
    def savings(self, config: ToyConfig) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Offer what ends the training of the weights there are first, and a batch after it."""
        return [
            (f"{name} {half}", {name: half})
            for name in ("width", "batch_size")
            if (half := getattr(config, name) // 2)
        ]

    @override
    def preview_data(self, config: ToyConfig, inputs: Inputs) -> Iterator[DataPreview | Progress]:
        yield DataPreview.of(Volume(np.zeros((1, 8, 8)), "zyx", np.eye(4)), inputs)

    @override
    def stages(self, config: ToyConfig, inputs: Inputs) -> Iterator[Stage | Progress]:
        return stages(config, inputs)

    @override
    def generate(
        self,
        networks: Networks,
        trained: ToyConfig,
        config: GenerateConfig,
        inputs: Mapping[str, Volume],
        generator: torch.Generator,
        data: Mapping[str, Any],
    ) -> Iterator[Volume]:
        array = networks["predictor"](torch.randn(1, 1, 8, 8, generator=generator))[0].numpy()
        yield Volume(array, "zyx", np.eye(4), name="sample")

    @override
    def score(self, networks: Networks, trained: ToyConfig, inputs: Inputs) -> Iterator[Score]:
        for reference in inputs.test("image"):
            for method, factor in (("model", 1.0), ("baseline", 2.0)):
                yield Score(method, reference.subject, {"mse": factor})


FAMILY = Toy()


def lookup(name: str) -> Family:
    """Find the toy, as `napari_mrgen.families.get` finds the real families."""
    if name != NAME:
        raise KeyError(name)
    return FAMILY


def inputs(folder: Path) -> Inputs:
    """Four subjects, one of them held out."""
    folder.mkdir(parents=True, exist_ok=True)
    references = []
    for subject in "abcd":
        path = folder / f"{subject}.nii"
        if not path.exists():
            path.write_bytes(subject.encode() * 100)
        references.append(Reference(path, subject))
    return Inputs({"image": tuple(references)}, Split(("a", "b", "c"), ("d",)))
