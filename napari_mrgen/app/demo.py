"""The demo without a window: train on simulated hearts, and predict one that was held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_mrgen import families
from napari_mrgen.app.generate import generate
from napari_mrgen.app.inputs import gather
from napari_mrgen.app.plots.cine import Comparison, plot_cine
from napari_mrgen.data.inputs import Split
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import TrainConfig
from napari_mrgen.engine.fit import fit, resume
from napari_mrgen.engine.run.events import Event
from napari_mrgen.engine.run.folder import holds_run
from napari_mrgen.io import movies, nifti
from napari_mrgen.samples import beating_heart

FAMILY = "frame_prediction"
PRESET = "quick"
SETTINGS = {
    "autoencoder_steps": 2400,
    "gan_steps": 100,
    "patch": 64,
    "slices": 1,
    "batch_size": 8,
    "width": 16,
    "loss": "absolute",
    "retimed_share": 0.0,
    "cycle_dropout": 0.0,
    "ema_decay": 0.98,
    "preview_every": 300,
    "save_every": 600,
}
"""Settings with which the preset takes three minutes on two cores."""
FRAMES = 50
PATIENTS = 8
UNSEEN = "heart-08"
_FRAMES_A_BEAT, _SLICES, _SIZE = 20, 4, 96


@dataclass(frozen=True)
class Demo:
    """The files of the demo in its folder."""

    folder: Path

    @property
    def hearts(self) -> Path:
        return self.folder / "hearts"

    @property
    def cine(self) -> Path:
        """The heart that is predicted; it is not trained on."""
        return self.hearts / f"{UNSEEN}.nii.gz"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def predicted(self) -> Path:
        return self.folder / "predicted.nii.gz"

    @property
    def movie(self) -> Path:
        return self.folder / "predicted.gif"

    @property
    def figure(self) -> Path:
        return self.folder / "predicted.png"


def config() -> TrainConfig:
    preset: TrainConfig = families.get(FAMILY).preset(PRESET)
    return preset.with_values(SETTINGS)


def make_hearts(demo: Demo) -> None:
    """Write each patient of the demo as NIfTI, as a scanner's export would be."""
    demo.hearts.mkdir(parents=True, exist_ok=True)
    for patient in range(1, PATIENTS + 1):
        cine, _labels = beating_heart(patient, _FRAMES_A_BEAT, _SLICES, _SIZE)
        nifti.write(cine, demo.hearts / f"heart-{patient:02d}.nii.gz")


def train(demo: Demo, control: Control, device: str = "auto") -> Iterator[Event]:
    """Train on the hearts, or resume the demo that was begun in this folder."""
    if holds_run(demo.run):
        return resume(demo.run, families.get, control, device=device)
    make_hearts(demo)
    split = demo.folder / "split.json"
    others = (f"heart-{patient:02d}" for patient in range(1, PATIENTS))
    Split(tuple(others), (UNSEEN,)).save(split)
    family, chosen = families.get(FAMILY), config()
    inputs = gather(family, {"cine": [demo.hearts]}, chosen, split)
    return fit(family, chosen, inputs, demo.run, control, device=device)


def predict(demo: Demo, control: Control, device: str = "auto") -> bool:
    """Predict the held-out heart, save and plot the frames; return False if stopped."""
    chosen = families.get(FAMILY).generate_config.parse({"frames": FRAMES})
    results = generate(demo.run, {"cine": demo.cine}, chosen, device=device, control=control)
    predicted = next(results, None)
    if predicted is None:
        return False
    nifti.write(predicted, demo.predicted)
    comparison = compare(demo, predicted.array)
    pair = comparison.side_by_side()
    movies.write_movie(predicted.with_array(pair, "ntzyx"), demo.movie)
    plot_cine(comparison, demo.figure)
    return True


def compare(demo: Demo, predicted: np.ndarray) -> Comparison:
    """Compare a prediction with the phantom's heart, without the scanner's noise."""
    patient = int(UNSEEN.removeprefix("heart-"))
    clean, _labels = beating_heart(patient, _FRAMES_A_BEAT, _SLICES, _SIZE, noise=0)
    ahead = np.arange(len(predicted)) % _FRAMES_A_BEAT
    return Comparison(
        truth=clean.array[ahead].astype(np.float32),
        predicted=predicted.astype(np.float32),
        seen=nifti.read(demo.cine).array.astype(np.float32),
    )
