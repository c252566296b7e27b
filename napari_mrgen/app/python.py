"""What ``import napari_mrgen as mrgen`` offers; the command line calls the same functions.

Imports of what needs torch are made when a function is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mrgen import families
from napari_mrgen.app.generate import LocalGenerator, Source, VolumeGenerator, collect
from napari_mrgen.app.inputs import Paths, gather
from napari_mrgen.app.outputs import check_new_run, check_run, save
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import Family, Input, TrainConfig
from napari_mrgen.engine.run.folder import relocate
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.find import find, reference_to
from napari_mrgen.io.subjects import AUTO
from napari_mrgen.volume import Volume

if TYPE_CHECKING:
    from napari_mrgen.engine.run.events import Event
    from napari_mrgen.metrics.scoreboard import Scoreboard

AnyPath = str | Path


def read(path: AnyPath) -> Volume:
    """Read an image with its geometry, times, and what is known of the subject.

    Parameters
    ----------
    path
        A file of any format that the project reads, or a folder with one scan in it.

    Returns
    -------
    Volume
        Array, axes such as ``"tzyx"``, and affine in mm (RAS+).

    Raises
    ------
    MrgenError
        If the file cannot be read, or the folder does not hold exactly one scan.

    Examples
    --------
    >>> import napari_mrgen as mrgen
    >>> from napari_mrgen.samples import beating_heart
    >>> cine, labels = beating_heart(1, 10, 2, 32)
    >>> paths = mrgen.write(cine, "heart.nii.gz")
    >>> mrgen.read("heart.nii.gz").axes
    'tzyx'
    """
    path = Path(path)
    if not path.is_dir():
        return reference_to(path).read()
    scans = find(path)
    if len(scans) != 1:
        raise MrgenError(f"Expected one scan in {path}, found {len(scans)}; name the file.")
    return scans[0].read()


def write(volume: Volume, path: AnyPath) -> tuple[Path, ...]:
    """Write a volume in the format that the file's name says.

    Parameters
    ----------
    path
        Ends in ``.nii.gz``, ``.nii``, ``.gif``, ``.mp4`` or ``.png``.

    Returns
    -------
    tuple of Path
        The files that were written: one for each slice or frame where the format is PNG.

    Examples
    --------
    >>> import napari_mrgen as mrgen
    >>> from napari_mrgen.samples import beating_heart
    >>> cine, labels = beating_heart(1, 10, 2, 32)
    >>> [path.name for path in mrgen.write(cine, "heart.gif")]
    ['heart.gif']
    """
    return save(volume, Path(path))


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, ready to generate."""

    generator: VolumeGenerator

    @property
    def family(self) -> Family:
        """Family of the model, with its inputs and settings."""
        return self.generator.family

    def generate(self, **inputs_and_settings: Any) -> Volume:
        """Generate, and return the first result.

        Parameters
        ----------
        **inputs_and_settings
            Inputs by role, each a path or a `Volume`, such as ``cine=cine``; and settings of the
            family, such as ``frames=50``.

        Returns
        -------
        Volume
            The result with its provenance. Of samples it holds all, along the axis ``n``.

        Raises
        ------
        MrgenError
            If an input or a setting is missing, not known or not valid.
        """
        return next(self.results(**inputs_and_settings))

    def results(self, **inputs_and_settings: Any) -> Iterator[Volume]:
        """Yield every result as it is made; see `generate`."""
        inputs, settings = _by_role(self.family.generate_inputs, inputs_and_settings)
        sources: dict[str, Source] = {
            role: Path(source) if isinstance(source, str) else source
            for role, source in inputs.items()
        }
        config = self.family.generate_config.parse(settings)
        return collect(self.generator.generate(sources, config))


def load(path: AnyPath, device: str = "auto") -> TrainedModel:
    """Load a trained model.

    Parameters
    ----------
    path
        A run folder or a ``.safetensors`` file.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda:0"``.

    Examples
    --------
    >>> import napari_mrgen as mrgen
    >>> model = mrgen.load("run")  # doctest: +SKIP
    >>> future = model.generate(cine="patient101_4d.nii.gz", frames=50)  # doctest: +SKIP
    """
    return TrainedModel(LocalGenerator.load(Path(path), device))


def train(
    family: str,
    preset: str = "base",
    *,
    out: AnyPath,
    split: AnyPath | None = None,
    subject_from: str = AUTO,
    include_synthetic: bool = False,
    device: str = "auto",
    precision: str = "auto",
    stage: str | None = None,
    start_from: AnyPath | None = None,
    control: Control | None = None,
    **inputs_and_settings: Any,
) -> Iterator[Event]:
    """Train a model into a new run folder, and yield what happens as events.

    The last event is `Finished`, `Stopped` or `Failed`: a failure of the training is not raised,
    but an argument that is not valid is, before anything is trained.

    Parameters
    ----------
    preset
        ``"tiny"``, ``"quick"``, ``"base"`` or ``"published"``.
    split
        JSON file of the subjects to train on and to hold out; at random if not given.
    subject_from, include_synthetic
        How subjects are distinguished, and whether generated scans are taken (`train --help`).
    stage, start_from
        Train this stage alone; start from the weights of this run folder or model file.
    control
        Pauses or stops the training.
    **inputs_and_settings
        Paths by role, one or a list, and settings that differ from the preset.

    Examples
    --------
    >>> import napari_mrgen as mrgen
    >>> for event in mrgen.train("vqvae", slices="OASIS", out="run", seed=7):  # doctest: +SKIP
    ...     print(event)
    """
    chosen = families.get(family)
    inputs, settings = _by_role(chosen.train_inputs, inputs_and_settings)
    config = chosen.preset(preset).with_values(settings)
    return start_training(
        chosen, config, _lists(inputs), out, control or Control(), split=split,
        subject_from=subject_from, include_synthetic=include_synthetic, device=device,
        precision=precision, stage=stage, start_from=start_from,
    )  # fmt: skip


def start_training(
    family: Family,
    config: TrainConfig,
    paths: Paths,
    out: AnyPath,
    control: Control,
    *,
    split: AnyPath | None = None,
    subject_from: str = AUTO,
    include_synthetic: bool = False,
    device: str = "auto",
    precision: str = "auto",
    stage: str | None = None,
    start_from: AnyPath | None = None,
) -> Iterator[Event]:
    """Find mistakes before data is read and a folder is made; return the events of the training."""
    from napari_mrgen.engine.device import choose_device
    from napari_mrgen.engine.fit import fit

    start = None if start_from is None else Path(start_from)
    check_stages(family, config, stage, start)
    check_new_run(Path(out))
    choose_device(device)
    inputs = gather(
        family, paths, config, None if split is None else Path(split),
        subject_from=subject_from, include_synthetic=include_synthetic,
    )  # fmt: skip
    return fit(
        family, config, inputs, Path(out), control, device=device, precision=precision,
        only_stage=stage, start_from=start,
    )  # fmt: skip


def check_stages(
    family: Family, config: TrainConfig, stage: str | None, start_from: Path | None
) -> None:
    """Refuse a stage that cannot be trained alone, and a model that does not fit the family."""
    from napari_mrgen.engine.run.model_header import check_start

    if stage is not None:
        config.check_stage(stage, has_start=start_from is not None)
    if start_from is not None:
        check_start(start_from, family.name)


def resume(
    run: AnyPath,
    *,
    device: str = "auto",
    control: Control | None = None,
    **inputs: AnyPath | Sequence[AnyPath],
) -> Iterator[Event]:
    """Continue a run exactly where it stopped, and yield its events as `train` does.

    Where its scans have moved, ``inputs`` say by role where they are now, such as
    ``cine="/data/ACDC"``: they are found by their names and their content.

    Examples
    --------
    >>> import napari_mrgen as mrgen
    >>> for event in mrgen.resume("run"):  # doctest: +SKIP
    ...     print(event)
    """
    from napari_mrgen.engine import fit

    check_run(Path(run))
    if inputs:
        relocate(Path(run), [path for paths in _lists(inputs).values() for path in paths])
    return fit.resume(Path(run), families.get, control or Control(), device=device)


def evaluate(
    model: AnyPath,
    *,
    split: AnyPath | None = None,
    everyone: bool = False,
    device: str = "auto",
    **inputs: AnyPath | Sequence[AnyPath],
) -> Scoreboard:
    """Score a model and the baselines on subjects that it was not trained on.

    Parameters
    ----------
    model
        A run folder or a ``.safetensors`` file.
    split
        The split that the model was trained with, where it is not beside the model.
    everyone
        Score the subjects that it was trained on too.
    **inputs
        Paths by role, such as ``cine="ACDC/testing"``; the run's own inputs if not given.

    Returns
    -------
    Scoreboard
        Mean and standard deviation of each metric over subjects, a row for each method.

    Examples
    --------
    >>> import napari_mrgen as mrgen
    >>> scoreboard = mrgen.evaluate("run", cine="ACDC/testing")  # doctest: +SKIP
    >>> scoreboard.rows[0].mean["PSNR 1"]  # doctest: +SKIP
    34.77
    """
    from napari_mrgen.app import evaluate as evaluation

    return evaluation.evaluate(
        Path(model),
        _lists(inputs) or None,
        split_file=None if split is None else Path(split),
        everyone=everyone,
        device=device,
    )


def _by_role(
    specs: Sequence[Input], values: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part keyword arguments into inputs and settings."""
    roles = {spec.role for spec in specs}
    inputs = {name: value for name, value in values.items() if name in roles}
    return inputs, {name: value for name, value in values.items() if name not in roles}


def _lists(inputs: Mapping[str, AnyPath | Sequence[AnyPath]]) -> dict[str, list[Path]]:
    return {
        role: [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
        for role, paths in inputs.items()
    }
