"""Generate with a trained model: read inputs, run it, and record the provenance of each result."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from napari_mrgen import __version__, families
from napari_mrgen.app.inputs import check_roles, find_all
from napari_mrgen.data.scaling import check_image, fill_note
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.family import Family, GenerateConfig, Input
from napari_mrgen.errors import MrgenError
from napari_mrgen.io.facts import NOTICE
from napari_mrgen.io.find import Reference
from napari_mrgen.volume import Volume

if TYPE_CHECKING:
    from napari_mrgen.engine.run.model import Model

Source = Path | Reference | Volume
"""An input of generation: a file, a scan that was found, or a volume in memory."""


class VolumeGenerator(Protocol):
    """A trained model that generates: on this machine, or at a service."""

    @property
    def family(self) -> Family:
        """Family of the model."""

    def generate(
        self,
        inputs: Mapping[str, Source],
        config: GenerateConfig | None = None,
        control: Control | None = None,
    ) -> Iterator[Volume]:
        """Yield results one by one, each with its provenance.

        Parameters
        ----------
        inputs
            Sources by role.
        config
            Settings of the model's family; its defaults if not given.
        control
            Checked between two results, to pause or to stop.
        """

    def record(self, config: GenerateConfig) -> dict[str, Any]:
        """Return the provenance that all results of these settings share."""


def generate(
    model_path: Path,
    inputs: Mapping[str, Source],
    config: GenerateConfig | None = None,
    *,
    device: str = "auto",
    control: Control | None = None,
) -> Iterator[Volume]:
    """Yield the results of a model one by one; see `VolumeGenerator.generate`."""
    yield from LocalGenerator.load(model_path, device).generate(inputs, config, control)


@dataclass(frozen=True)
class LocalGenerator:
    """A model on a device of this machine, to be used once or for many scans."""

    path: Path
    """A run folder or a ``.safetensors`` file."""
    model: Model
    family: Family

    @classmethod
    def load(cls, path: Path, device: str = "auto") -> Self:
        """Load a model and move it to a device."""
        # Imported here: a client of a service does without torch.
        from napari_mrgen.engine.device import choose_device
        from napari_mrgen.engine.run.model import load_model

        model, chosen = load_model(path, families.get), choose_device(device)
        for network in model.networks.values():
            network.to(chosen)
        return cls(path, model, families.get(model.family))

    def generate(
        self,
        inputs: Mapping[str, Source],
        config: GenerateConfig | None = None,
        control: Control | None = None,
    ) -> Iterator[Volume]:
        """Yield results one by one; see `VolumeGenerator.generate`."""
        import torch

        control = control or Control()
        config = config or self.family.generate_config()
        volumes = read_inputs(self.family.generate_inputs, inputs)
        record = {
            **self.record(config),
            "source": sources_of(volumes, inputs),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        generator = torch.Generator().manual_seed(config.seed)
        results = self.family.generate(
            self.model.networks, self.model.config, config, volumes, generator, self.model.info.data
        )
        while not control.is_stopped:
            if control.is_paused:
                control.wait(0.2)
                continue
            # The mode belongs to the thread: kept on over a yield it would reach into the caller.
            with torch.inference_mode():
                result = next(results, None)
            if result is None:
                return
            yield replace(result, provenance={**record, **(result.provenance or {})})

    def record(self, config: GenerateConfig) -> dict[str, Any]:
        """Return the provenance that all results of these settings share."""
        return {
            "synthetic": True,
            "notice": NOTICE,
            "family": self.model.family,
            "model": {
                "name": self.path.stem,
                "path": str(self.path),
                "sha256": self.model.hash,
            },
            "seed": config.seed,
            "configuration": config.model_dump(mode="json"),
            "software": f"napari-mrgen {__version__}",
        }


def collect(results: Iterable[Volume]) -> Iterator[Volume]:
    """Join samples that come in blocks into one volume; other results pass as they come."""
    for (_, is_sample), group in groupby(results, lambda v: (v.name, v.samples is not None)):
        if not is_sample:
            yield from group
            continue
        blocks = list(group)
        tables = [block.samples or {} for block in blocks]
        samples = {
            column: [value for table in tables for value in table[column]] for column in tables[0]
        }
        array = np.concatenate([block.array for block in blocks])
        yield blocks[0].with_array(array, samples=samples)


def read_inputs(specs: tuple[Input, ...], inputs: Mapping[str, Source]) -> dict[str, Volume]:
    """Read the inputs that are given as paths, and check the axes of each volume."""
    check_roles(specs, inputs)
    volumes = {}
    for spec in specs:
        source = inputs.get(spec.role)
        if source is None:
            continue
        volume = source if isinstance(source, Volume) else _read_one(spec, source)
        # What a family reads again by itself, it checks by itself.
        if volume.axes not in spec.axes and not spec.from_file:
            msg = (
                f"The input {spec.role!r} must have the axes {' or '.join(spec.axes)}, "
                f"got {volume.axes} of shape {volume.array.shape}."
            )
            raise MrgenError(msg)
        if spec.kind == "image":
            name = volume.name or spec.role
            check_image(volume.array, name)
            if note := fill_note(volume.array):
                warnings.warn(f"{name}: {note}", stacklevel=2)
        # A result says what made it, not what made its input.
        volumes[spec.role] = replace(volume, provenance=None)
    return volumes


def _read_one(spec: Input, source: Path | Reference) -> Volume:
    if isinstance(source, Reference):
        return source.read()
    scans = find_all((spec,), {spec.role: [source]})[spec.role]
    if len(scans) > 1:
        msg = (
            f"The input {spec.role!r} takes one scan, got {len(scans)} in {source}; name the "
            "file, or a folder for the results of all."
        )
        raise MrgenError(msg)
    return scans[0].read()


def sources_of(volumes: Mapping[str, Volume], inputs: Mapping[str, Source]) -> dict[str, Any]:
    """Return the sources of a result by role: name, subject and file."""

    def path_of(source: Source) -> str | None:
        if isinstance(source, Volume):
            return None
        return str(source.path if isinstance(source, Reference) else source)

    return {
        role: {"name": volume.name, "subject": volume.subject, "path": path_of(inputs[role])}
        for role, volume in volumes.items()
    }
